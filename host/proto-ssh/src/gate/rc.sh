# What bash reads first in a gated shell. Before this text __weir_n, __weir_d, __weir_h, __weir_q and __weir_r are set:
# the secret, the directory, the process that passes on what is asked, and where mkfifo and readlink are.
#
# This is read before any alias or function of the login's own files exists, and cannot be replaced afterwards. While it
# asks, bash asks about nothing: so nothing here may run what somebody else has written, by names, attributes, options,
# arithmetic or expansions.
#
# Names of builtins can be taken by functions at any time: only those that POSIX calls special stand above functions,
# and only in POSIX mode. So that is where the others are freed. Where that mode cannot be had, nothing runs.
__weir_gate() {
  if [[ ! -o posix ]]; then POSIXLY_CORRECT=1; fi
  [[ -o posix ]] && \unset -f builtin command && \__weir_ask
}
__weir_ask() {
  builtin unset -v POSIXLY_CORRECT || builtin return 1
  [[ $- == *T* ]] || builtin set -T
  builtin shopt -q extdebug || builtin shopt -s extdebug
  # What variables below were before must not be what they are here.
  (( BASH_VERSINFO[0] < 5 )) || builtin shopt -u localvar_inherit
  builtin local -
  builtin set +aefkux
  builtin local "__weir_c=$BASH_COMMAND" "__weir_k=${#FUNCNAME[@]}" "__weir_j=$BASHPID" __weir_to=main '__weir_w=?' \
    '__weir_b=\' $'__weir_l=\n' $'__weir_s=\t' __weir_a= __weir_v= __weir_o= __weir_i= __weir_f= __weir_id= __weir_m= ||
    builtin return 1
  [[ -n $__weir_j && $__weir_j != *[!0123456789]* ]] || builtin return 1
  builtin read -r __weir_id < /proc/sys/kernel/random/uuid || builtin return 1
  if [[ $__weir_j != "$__weir_p" ]]; then
    __weir_to=s$__weir_id
    builtin command "$__weir_q" -m 600 -- "$__weir_d/$__weir_to" || builtin return 1
  fi
  if [[ $PWD == /* && . -ef $PWD ]]; then
    __weir_w=$PWD
  fi
  # What is open here and in no text: a redirection around several commands.
  for __weir_i in 0 1 2 3 4 5 6 7 8 9 {10..63}; do
    __weir_f=/proc/self/fd/$__weir_i
    [[ -e $__weir_f ]] || builtin continue
    [[ -p $__weir_f || -S $__weir_f || $__weir_f -ef /dev/null ]] && builtin continue
    [[ -n $__weir_t && $__weir_f -ef $__weir_t ]] && builtin continue
    __weir_f=$(builtin command "$__weir_r" "/proc/$__weir_j/fd/$__weir_i")
    __weir_f=${__weir_f//"$__weir_b"/"$__weir_b$__weir_b"}
    __weir_f=${__weir_f//"$__weir_l"/"${__weir_b}n"}
    __weir_o+=${__weir_o:+"$__weir_s"}${__weir_f//"$__weir_s"/"${__weir_b}t"}
  done
  __weir_w=${__weir_w//"$__weir_b"/"$__weir_b$__weir_b"}
  __weir_w=${__weir_w//"$__weir_l"/"${__weir_b}n"}
  __weir_w=${__weir_w//"$__weir_s"/"${__weir_b}t"}
  __weir_c=${__weir_c//"$__weir_b"/"$__weir_b$__weir_b"}
  __weir_c=${__weir_c//"$__weir_l"/"${__weir_b}n"}
  __weir_c=$__weir_w$__weir_s${__weir_c//"$__weir_s"/"${__weir_b}t"}${__weir_o:+"$__weir_s"}$__weir_o
  {
    # In pieces that a pipe takes whole: others may write at the same time.
    while :; do
      __weir_m=0
      (( ${#__weir_c} <= 900 )) || __weir_m=1
      builtin printf '%s ask %s %s %s %s %s %s\n' "$__weir_n" "$__weir_to" "$__weir_id" "$__weir_j" "$__weir_k" \
        "$__weir_m" "${__weir_c:0:900}" 1<> "$__weir_d/ask" || builtin return 1
      (( __weir_m )) || builtin break
      __weir_c=${__weir_c:900}
    done
    # An hour at most, and no longer than there is somebody who could answer.
    for (( __weir_i = 0; __weir_i < 3600; __weir_i++ )); do
      if IFS=' ' builtin read -r -t 1 __weir_a __weir_v; then
        [[ $__weir_a != "$__weir_id" ]] || builtin break
      else
        [[ -p $__weir_d/ask ]] && builtin kill -0 "$__weir_h" || builtin break
      fi
    done
  } 0<> "$__weir_d/$__weir_to"
  [[ $__weir_a == "$__weir_id" && $__weir_v == yes ]] && builtin return 0
  # Not only this command: what stands behind it in the same line was written for the case that it runs.
  if [[ $- == *i* ]]; then
    builtin kill -INT "$__weir_j"
  else
    builtin exit 126
  fi
  builtin return 1
}
\readonly -f __weir_gate __weir_ask
\unset -v BASH_ENV POSIXLY_CORRECT
# A login shell's own files.
if [[ -r /etc/profile ]]; then \. /etc/profile; fi
for __weir_i in ~/.bash_profile ~/.bash_login ~/.profile; do
  if [[ -r $__weir_i ]]; then \. "$__weir_i"; builtin break; fi
done
\unset -v __weir_i
# Commands at every prompt and for every completion would be asked about, each of them.
\unset -v PROMPT_COMMAND
\shopt -u progcomp
__weir_p=$BASHPID
__weir_t=
if [[ -t 0 ]]; then __weir_t=$(tty); fi
# What bash expands while it asks, how deep it may ask, and a file that it writes without asking.
PS4='+ '
\unset -v FUNCNEST HISTFILE
\readonly __weir_n __weir_d __weir_h __weir_q __weir_r __weir_p __weir_t BASH_COMMAND BASHPID PS4 FUNCNEST HISTFILE
\set -T
\shopt -s extdebug
\trap '\__weir_gate' DEBUG
: weir-live
