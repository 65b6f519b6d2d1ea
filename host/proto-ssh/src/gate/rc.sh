# What bash reads first in a gated shell. Before this text __weir_n, __weir_d, __weir_h, __weir_e, __weir_q and __weir_r
# are set: the secret, the directory, the process that passes on what is asked, the one that reads it for that, and where
# mkfifo and readlink are; and __weir_key is defined, which knows the key of the verdicts. That stands in a function
# because what variables hold can be had by any expansion, such as that of a prompt.
#
# This is read before any alias or function of the login's own files exists, and cannot be replaced afterwards. While it
# asks, bash asks about nothing: so nothing here may run what somebody else has written, by names, attributes, options,
# arithmetic or expansions. What is read here and can be set by others is first looked at: as the name of another
# variable (declare -n) it would be computed. What stands in $(…) is read again each time, with the aliases of then: so
# its names are in quotes.
#
# Names of builtins can be taken by functions at any time: only those that POSIX calls special stand above functions,
# and only in POSIX mode. So that is where the others are freed. Where that mode cannot be had, nothing runs.
>| "$__weir_d/rc"
POSIXLY_CORRECT=1
\unset -f builtin break command local read readonly return set shopt trap unset
\unset -v BASH_ENV POSIXLY_CORRECT
__weir_gate() {
  if [[ ! -o posix && ! -R POSIXLY_CORRECT ]]; then POSIXLY_CORRECT=1; fi
  [[ -o posix && ! -R POSIXLY_CORRECT ]] && \unset -f : builtin command && \__weir_look
}
__weir_look() {
  builtin unset -v POSIXLY_CORRECT || builtin return 1
  [[ $- == *T* ]] || builtin set -T
  builtin shopt -q extdebug || builtin shopt -s extdebug
  # What variables below were before must not be what they are here.
  (( BASH_VERSINFO[0] < 5 )) || builtin shopt -u localvar_inherit
  builtin local - '__weir_why=this shell is not as its gate needs it' || builtin return 1
  builtin set +aeEfkux
  case $BASH_COMMAND in
    ': weir-line' | ': weir-more') [[ $BASHPID == "$__weir_p" ]] || builtin trap '\__weir_left' INT ;;
  esac
  # Where bash cannot have the login's own language back, it would say so for each command.
  if __weir_ask 2> /dev/null; then
    case $BASH_COMMAND in
      ': weir-line' | ': weir-more') [[ $BASHPID == "$__weir_p" ]] || builtin trap - INT ;;
    esac
    # Only then the shell itself goes on with the line (PS0).
    if [[ $BASH_COMMAND == ': weir-line' && $BASHPID != "$__weir_p" ]]; then
      builtin printf %s "$__weir_once"
    fi
    builtin return 0
  fi
  __weir_say
  __weir_refuse
  builtin return 1
}
__weir_ask() {
  # In some languages a backslash may be the end of another character.
  __weir_sound && builtin local LC_ALL=C &&
    builtin local 'IFS= ' "__weir_c=$BASH_COMMAND" "__weir_k=${#FUNCNAME[@]}" "__weir_j=$BASHPID" __weir_to=main \
      '__weir_w=?' '__weir_b=\' $'__weir_l=\n' $'__weir_s=\t' __weir_a= __weir_v= __weir_o= __weir_i= __weir_f= \
      __weir_x= __weir_id= __weir_m= __weir_u= __weir_y= && __weir_question && __weir_answered
}
# Whoever sits at the terminal does not want the line any more. Who asks would live on with the signal's own meaning here.
__weir_left() {
  builtin kill -INT "$__weir_p"
  builtin kill -KILL "$BASHPID"
}
# Is what is read below what bash makes of it? Of BASH_COMMAND and BASHPID as arrays it makes nothing any more, although
# they are constant; of PATH as one, the current directory; and of PROMPT_COMMAND, no prompts any more. What is called here
# is a builtin by that word or a function that cannot be changed: a function may be called `:`.
__weir_sound() {
  [[ ! -R IFS && ! -R PWD && ! -R FUNCNAME && ! -R BASH_COMPAT && ${BASH_COMMAND@a} != *[!rx]* &&
    ${BASHPID@a} != *[!irx]* && ${PATH@a} != *[aA]* && ${PROMPT_COMMAND@a} != *[aA]* && ! -R LC_ALL && ! -R HOME &&
    ! -R PROMPT_DIRTRIM ]] ||
    builtin return 1
  # In older ways of bash, a backslash that is doubled below is not; and no name that is listed must be an error.
  builtin shopt -u compat31 compat32 compat40 compat41 compat42 failglob
  # What is written down of a line is all of it, each of its own lines by itself.
  builtin shopt -u expand_aliases cmdhist && builtin shopt -s lithist promptvars &&
    [[ -o history && ! -o keyword && ! -o histexpand && -o braceexpand ]]
}
# Puts together what is asked, and where the answer is to come. Of what is longer than 128 KiB
# only so much is told, and one byte more: that Weir refuses.
__weir_question() {
  [[ -n $__weir_j && $__weir_j != *[!0123456789]* ]] || builtin return 1
  builtin read -r __weir_id < /proc/sys/kernel/random/uuid || builtin return 1
  __weir_why='what is open here is a gate, or more than 200 files, or cannot be told'
  __weir_open || builtin return 1
  __weir_why='there can be no pipe for the answer'
  if [[ $__weir_j != "$__weir_p" ]]; then
    __weir_to=s$__weir_id
    # Without the variables of this shell: with a large one among them it could not be started.
    __weir_f=$(\builtin exec -c "$__weir_q" -m 600 -- "$__weir_d/$__weir_to") || builtin return 1
  fi
  __weir_why='what was typed cannot be told'
  __weir_typed || builtin return 1
  __weir_c=${__weir_c:0:131073}
  __weir_where
  __weir_w=${__weir_w//"$__weir_b"/"$__weir_b$__weir_b"}
  __weir_w=${__weir_w//"$__weir_l"/"${__weir_b}n"}
  __weir_w=${__weir_w//"$__weir_s"/"${__weir_b}t"}
  __weir_c=${__weir_c//"$__weir_b"/"$__weir_b$__weir_b"}
  __weir_c=${__weir_c//"$__weir_l"/"${__weir_b}n"}
  __weir_c=$__weir_w$__weir_s${__weir_c//"$__weir_s"/"${__weir_b}t"}$__weir_o
}
# At each prompt bash tells Weir the number of the line that comes next; where a command goes on, the line that it has just
# read, before anybody can go back to it and change it (PS2); and before it does anything of a command, what it has
# written down since the prompt (PS0): each line behind its number and a mark that nobody knows before. The last two ask
# from processes of their own. What __weir_next says is looked at by Weir.
__weir_typed() {
  builtin local "HISTTIMEFORMAT=$__weir_id " || builtin return 1
  if [[ $__weir_c == ': weir-prompt' && $__weir_to == main ]]; then
    __weir_last
    __weir_next=$(( __weir_f + 1 ))
    __weir_c+=$__weir_l$__weir_next
  elif [[ $__weir_c == ': weir-line' && $__weir_to != main ]]; then
    __weir_last
    __weir_i=1
    if [[ $__weir_next == [123456789]* && $__weir_next != *[!0123456789]* && ${#__weir_next} -le 9 ]]; then
      (( __weir_i = __weir_f < __weir_next ? 1 : __weir_f - __weir_next + 1 ))
    fi
    __weir_list "$__weir_i" || builtin return 1
  elif [[ $__weir_c == ': weir-more' && $__weir_to != main ]]; then
    __weir_list 1 || builtin return 1
    # Of what has so much more than is judged, this is enough: it is refused when it is read to its end.
    __weir_c=${__weir_c:0:32768}
  fi
  builtin return 0
}
# So many of the last lines. A process of its own lists them, and may be killed: only what ends in a line with what nobody
# knew when they were typed is all of them.
__weir_list() {
  __weir_c+=$__weir_l$(\builtin history "$1" && \builtin printf %s "$__weir_id")
  [[ $__weir_c == *"$__weir_l$__weir_id" ]] || builtin return 1
  __weir_c=${__weir_c%"$__weir_l$__weir_id"}
}
# The number of the last line (__weir_f).
__weir_last() {
  __weir_f=$(\builtin history 1)
  __weir_f=${__weir_f#"${__weir_f%%[! ]*}"}
  __weir_f=${__weir_f%%[!0123456789]*}
  [[ -n $__weir_f ]] || __weir_f=0
}
# The current directory as the system says it: PWD can be set to any other way there. Of a prompt without PWD, bash asks
# the system, and starts nothing for it; what it would write in another way there, or could not have, readlink says.
__weir_where() {
  builtin local PWD HOME PROMPT_DIRTRIM 2> /dev/null
  __weir_f=
  if [[ -z ${PWD+x}${HOME+x}${PROMPT_DIRTRIM+x} ]]; then
    __weir_f='\w'
    __weir_f=${__weir_f@P}
  fi
  if [[ $__weir_f != /* || $__weir_f == *[!/0123456789a-zA-Z._+,:@%=~-]* ]]; then
    __weir_f=$(\builtin command "$__weir_r" "/proc/$__weir_j/cwd" && \builtin printf .)
    __weir_f=${__weir_f%"${__weir_l}."}
  fi
  if [[ $__weir_f == /* && . -ef $__weir_f ]]; then
    __weir_w=$__weir_f
  fi
}
# What is open here and in no text: a redirection around several commands. Two hundred at most; more, and what cannot be
# told, is no.
__weir_open() {
  __weir_x=0
  for __weir_f in /proc/self/fd/*; do
    (( ++__weir_x <= 200 )) || builtin return 1
    # The listing itself is gone by now.
    [[ -L $__weir_f ]] || builtin continue
    [[ -n $__weir_t && $__weir_f -ef $__weir_t || $__weir_f -ef /dev/null ]] && builtin continue
    __weir_i=${__weir_f##*/}
    if [[ -p $__weir_f ]]; then
      __weir_pipe || builtin return 1
      (( __weir_m )) || builtin continue
    fi
    # With something behind it, because of names that end with a new line.
    __weir_f=$(\builtin command "$__weir_r" "/proc/$__weir_j/fd/$__weir_i" && \builtin printf .)
    __weir_f=${__weir_f%"${__weir_l}."}
    [[ -n $__weir_f && $__weir_f != /tmp/weir-* ]] || builtin return 1
    [[ $__weir_f == "$__weir_0" || $__weir_f == "$__weir_1" || $__weir_f == "$__weir_2" ]] && builtin continue
    __weir_f=${__weir_f//"$__weir_b"/"$__weir_b$__weir_b"}
    __weir_f=${__weir_f//"$__weir_l"/"${__weir_b}n"}
    __weir_o+=$__weir_s${__weir_f//"$__weir_s"/"${__weir_b}t"}
  done
  [[ $__weir_x != 0 ]]
}
# Is this pipe to be told of (__weir_m)? What was opened by a name, be it that of a descriptor of some process, has a flag
# that what pipe() makes has not (O_LARGEFILE: __weir_g). Into the pipes of a gate, this one or one of another shell,
# nobody has a way.
__weir_pipe() {
  __weir_m=0
  __weir_flags "$__weir_i" || builtin return 1
  (( __weir_g && (__weir_u & __weir_g) == 0 )) && builtin return 0
  builtin local "__weir_v=$__weir_u" || builtin return 1
  for __weir_u in "$__weir_d/ask" "$__weir_d/main" "/proc/$__weir_h/fd/"[01] "/proc/$__weir_e/fd/"[01] \
    /tmp/weir-*/ask /tmp/weir-*/main /tmp/weir-*/[he]/[01]; do
    [[ $__weir_f -ef $__weir_u ]] && builtin return 1
  done
  # < <(…) is opened by a name, too. What writes (into a pipe of somebody else?) is told of, unless it is one that bash
  # has made and still has.
  (( __weir_v & 3 )) || builtin return 0
  for __weir_y in /proc/self/fd/*; do
    [[ $__weir_y != "$__weir_f" && $__weir_y -ef $__weir_f ]] || builtin continue
    __weir_flags "${__weir_y##*/}" && (( (__weir_u & __weir_g) == 0 )) && builtin return 0
  done
  __weir_m=1
}
__weir_flags() {
  if [[ $1 == 0 ]]; then
    builtin read -r -d '' -u 1 __weir_u 1< /proc/self/fdinfo/0
  else
    builtin read -r -d '' __weir_u < "/proc/self/fdinfo/$1"
  fi
  __weir_u=${__weir_u##*flags:"$__weir_s"}
  __weir_u=${__weir_u%%"$__weir_l"*}
  [[ $__weir_u == 0* && $__weir_u != *[!01234567]* ]]
}
# What a verdict has to say beside yes: SipHash-2-4, by the key, of all that is asked. Who reaches the pipes can neither
# make one nor have one for something else.
__weir_seal() {
  builtin local "__weir_f=$__weir_to $__weir_id $__weir_j $__weir_k $__weir_c" __weir_A= __weir_B= __weir_C= \
    __weir_D= __weir_o= __weir_u= && __weir_key || builtin return 1
  # One round.
  __weir_o='__weir_A+=__weir_B,__weir_B=__weir_B<<13|__weir_B>>51&8191,__weir_B^=__weir_A'
  __weir_o+=',__weir_A=__weir_A<<32|__weir_A>>32&4294967295'
  __weir_o+=',__weir_C+=__weir_D,__weir_D=__weir_D<<16|__weir_D>>48&65535,__weir_D^=__weir_C'
  __weir_o+=',__weir_A+=__weir_D,__weir_D=__weir_D<<21|__weir_D>>43&2097151,__weir_D^=__weir_A'
  __weir_o+=',__weir_C+=__weir_B,__weir_B=__weir_B<<17|__weir_B>>47&131071,__weir_B^=__weir_C'
  __weir_o+=',__weir_C=__weir_C<<32|__weir_C>>32&4294967295'
  (( __weir_A ^= 0x736f6d6570736575, __weir_B ^= 0x646f72616e646f6d, __weir_C ^= 0x6c7967656e657261, \
    __weir_D ^= 0x7465646279746573, 1 ))
  __weir_x=${#__weir_f} __weir_i=0
  while (( 1 )); do
    __weir_u=${__weir_f:__weir_i:8}
    # Behind the end, the length.
    builtin printf -v __weir_m \
      '%d&255|(%d&255)<<8|(%d&255)<<16|(%d&255)<<24|(%d&255)<<32|(%d&255)<<40|(%d&255)<<48|(%d&255)<<56' \
      "'${__weir_u:0:1}" "'${__weir_u:1:1}" "'${__weir_u:2:1}" "'${__weir_u:3:1}" "'${__weir_u:4:1}" \
      "'${__weir_u:5:1}" "'${__weir_u:6:1}" "'${__weir_u:7:1}" || builtin return 1
    (( __weir_m = __weir_m, ${#__weir_u} == 8 || (__weir_m |= __weir_x << 56) ))
    (( __weir_D ^= __weir_m, __weir_o, __weir_o, __weir_A ^= __weir_m ))
    (( ${#__weir_u} == 8 )) || builtin break
    (( __weir_i += 8 ))
  done
  (( __weir_C ^= 255, __weir_o, __weir_o, __weir_o, __weir_o, __weir_y = __weir_A ^ __weir_B ^ __weir_C ^ __weir_D, 1 ))
}
# Asks, and waits for the answer.
__weir_answered() {
  __weir_y=
  if (( ${#__weir_c} > 131072 )); then
    __weir_c=${__weir_c:0:131073}
  else
    __weir_seal && [[ -n $__weir_y ]] || builtin return 1
  fi
  __weir_why='nobody answers'
  {
    # In pieces that a pipe takes whole: others may write at the same time. Where nobody reads, it would be full.
    while (( 1 )); do
      builtin kill -0 "$__weir_e" || builtin return 1
      __weir_m=0
      (( ${#__weir_c} <= 900 )) || __weir_m=1
      builtin printf '%s ask %s %s %s %s %s %s\n' "$__weir_n" "$__weir_to" "$__weir_id" "$__weir_j" "$__weir_k" \
        "$__weir_m" "${__weir_c:0:900}" 1<> "$__weir_d/ask" || builtin return 1
      (( __weir_m )) || builtin break
      __weir_c=${__weir_c:900}
    done
    # An hour at most, and no longer than there is somebody who could answer. What comes as a second ends may be half of an
    # answer.
    __weir_v=
    for (( __weir_i = 0; __weir_i < 3600; __weir_i++ )); do
      if IFS= builtin read -r -t 1 __weir_a; then
        __weir_v+=$__weir_a __weir_a=${__weir_v%% *} __weir_v=${__weir_v#* }
        [[ $__weir_a != "$__weir_id" ]] || builtin break
        __weir_v=
      else
        __weir_v+=$__weir_a __weir_a=
        [[ -p $__weir_d/ask ]] && builtin kill -0 "$__weir_h" && builtin kill -0 "$__weir_e" || builtin break
      fi
    done
  } 0<> "$__weir_d/$__weir_to"
  [[ $__weir_a == "$__weir_id" ]] || builtin return 1
  # Of a refusal Weir itself says why.
  __weir_why='the answer is not that of Weir'
  if [[ $__weir_v == no ]]; then __weir_why=; fi
  [[ -n $__weir_y && $__weir_v == "yes $__weir_y" ]]
}
# Why it is not run, where nobody else says so; to where the shell itself began, and nowhere else: what is open around
# the command may be any file.
__weir_say() {
  builtin local "__weir_f=${BASH_COMMAND:0:80}" || builtin return 1
  [[ -n $__weir_why ]] || builtin return 0
  builtin printf 'weir: refused: %s: %q\n' "$__weir_why" "$__weir_f" 1> "$__weir_t"
}
# Not only this command: what stands behind it in the same line was written for the case that it runs.
__weir_refuse() {
  builtin local __weir_i=0 __weir_m= __weir_f= __weir_k= || builtin kill -KILL "$__weir_p" "$BASHPID"
  if [[ $BASH_COMMAND == ': weir-line' || $BASH_COMMAND == ': weir-more' || $BASH_COMMAND == ': weir-prompt' ]]; then
    [[ $BASHPID == "$__weir_p" ]] || builtin trap - INT
    # Of a line that Weir refuses, nothing is done, not even what is asked about in no other way. Where nobody has said
    # so, there is no other way than this.
    if [[ -n $__weir_why ]]; then
      builtin kill -KILL "$__weir_p"
    elif [[ $BASHPID != "$__weir_p" ]]; then
      builtin kill -INT "$__weir_p"
    fi
  fi
  [[ $BASHPID != "$__weir_p" ]] || __weir_late 0<> "$__weir_d/main"
  builtin kill -INT "$BASHPID"
  builtin return 1
}
# Parts of a pipeline that began before this one take the terminal away from bash as they begin, but not from behind its
# prompt. Waits, for two seconds at most, until there is none that runs and has not become another program.
__weir_late() {
  for (( __weir_i = 0; __weir_i < 200; __weir_i++ )); do
    __weir_m=0
    while builtin read -r -d ' ' __weir_k; do
      __weir_f=
      builtin read -r -d '' __weir_f < "/proc/$__weir_k/stat"
      __weir_f=${__weir_f##*") "}
      [[ $__weir_f == [RD]* ]] || builtin continue
      __weir_f=${__weir_f#* * * * * * }
      __weir_f=${__weir_f%% *}
      [[ -n $__weir_f && $__weir_f != *[!0123456789]* ]] && (( __weir_f & 64 )) && __weir_m=1
    done < "/proc/$BASHPID/task/$BASHPID/children"
    (( __weir_m )) || builtin break
    builtin read -r -t 0.01 __weir_f
  done
} 2> /dev/null
# What the login's own files may have left behind.
__weir_begin() {
  if [[ ! -o posix && ! -R POSIXLY_CORRECT ]]; then POSIXLY_CORRECT=1; fi
  if [[ -o posix && ! -R POSIXLY_CORRECT ]] && \unset -f builtin command enable && __weir_builtins &&
    builtin unset -v POSIXLY_CORRECT; then
    builtin local __weir_i=
    for (( __weir_i = 0; __weir_i <= 64; __weir_i++ )); do
      builtin trap - "$__weir_i" 2> /dev/null
    done
    builtin return 0
  fi
  \exit 126
}
__weir_builtins() {
  builtin enable : . break command continue declare enable eval exec exit export history kill local printf read readonly \
    return set shopt source trap typeset ulimit unset &&
    builtin unset -f : . break continue declare eval exec exit export history kill local printf read readonly return set \
      shopt source trap typeset ulimit unset command_not_found_handle
}
\readonly -f __weir_gate __weir_look __weir_ask __weir_left __weir_sound __weir_question __weir_typed \
  __weir_list __weir_last __weir_where __weir_open __weir_pipe \
  __weir_flags __weir_key __weir_seal __weir_answered __weir_say __weir_refuse __weir_late __weir_begin __weir_builtins
__weir_p=$BASHPID
__weir_0=$("$__weir_r" "/proc/$__weir_p/fd/0") __weir_1=$("$__weir_r" "/proc/$__weir_p/fd/1") \
  __weir_2=$("$__weir_r" "/proc/$__weir_p/fd/2")
if [[ ! -t 0 ]]; then \exit 126; fi
__weir_t=$__weir_0
\read -r -d '' __weir_g < /proc/self/fdinfo/0
__weir_g=${__weir_g##*flags:?}
__weir_g=${__weir_g%%[!0-7]*}
\unset -v __weir_ok __weir_once
__weir_ok=([1]=1)
\readonly __weir_n __weir_d __weir_h __weir_e __weir_q __weir_r __weir_p __weir_t __weir_0 __weir_1 __weir_2 __weir_g __weir_ok
# A login shell's own files. Keys mean what they do without any file of that login.
INPUTRC=/dev/null
{
  if [[ -r /etc/profile ]]; then \. /etc/profile; fi
  for __weir_i in ~/.bash_profile ~/.bash_login ~/.profile; do
    if [[ -r $__weir_i ]]; then \. "$__weir_i"; \break; fi
  done
}
\__weir_begin
\unset -v __weir_i
# Of the traps of functions, those that are set within a function would come back behind it.
\trap - ERR RETURN DEBUG
# Commands at every prompt and for every completion would be asked about, each of them. Names are what they say.
\unset -v PROMPT_COMMAND
\unalias -a
\shopt -u expand_aliases
\shopt -u progcomp
\shopt -s interactive_comments
# Keys that expand what is typed before it is asked about, that run what an editor makes of it, or that read again which
# key is which. Completion is one of them: bash expands what stands in front of the name, and does what is in $((…)) there.
# Each time it leaves POSIX mode, bash gives TAB back to it, where it is then told not to.
if [[ $- == *i* ]]; then
  for __weir_i in emacs-standard emacs-meta emacs-ctlx vi-command vi-insert; do
    for __weir_f in shell-expand-line edit-and-execute-command vi-edit-and-execute-command re-read-init-file \
      execute-named-command complete possible-completions insert-completions menu-complete menu-complete-backward \
      old-menu-complete delete-char-or-list export-completions complete-filename possible-filename-completions \
      complete-command possible-command-completions complete-into-braces complete-username \
      possible-username-completions complete-hostname possible-hostname-completions complete-variable \
      possible-variable-completions dynamic-complete-history dabbrev-expand glob-complete-word glob-expand-word \
      glob-list-expansions vi-complete bash-vi-complete; do
      \builtin bind -m "$__weir_i" -u "$__weir_f"
    done
  done 2> /dev/null
  \builtin bind -m emacs-standard '"\C-i": self-insert'
  \builtin bind -m vi-insert '"\C-i": self-insert'
  \builtin bind 'set disable-completion on'
  \unset -v __weir_f
fi
# And so would those within a prompt.
if [[ ${PS1-} == *['`']* || ${PS1-} == *'$('* || ${PS1-} == *'${ '* || ${PS1-} == *'${|'* ]]; then
  \unset -v PS1
  PS1='\s-\v\$ '
fi
# What bash expands while it asks, how deep it may ask, which files it lists then, and a file that it writes without
# asking.
PS4='+ '
\unset -v FUNCNEST GLOBIGNORE HISTFILE HOSTFILE
\shopt -u hostcomplete
\readonly BASH_COMMAND BASHPID FUNCNAME PS4 FUNCNEST GLOBIGNORE HISTFILE HOSTFILE
# Which program a name means is to be what it was when its policy was written.
\readonly PATH BASH_CMDS BASH_ALIASES BASH_ENV ENV
# Before anything of a line is done, it is asked about as it was written down: so all of it has to be. bash leaves out
# empty lines, and where several are one to it, that a backslash stood between them: so they are kept one by one. With
# history expansion, !x:p would put lines there that it does not read.
\unset -v HISTCONTROL HISTIGNORE HISTTIMEFORMAT
# The shell itself does nothing of a line unless who asks about it says, when there was a yes, a number that the shell has
# thought of for this line (__weir_once), whatever became of who asks. What is said is taken off that number as text;
# where it is all of it, one element of __weir_ok is meant that is there, and anything else, an error as well, is an
# expansion within an index that fails: of such a line bash does nothing.
__weir_i='${__weir_ok[${__weir_ok[(__weir_once=SRANDOM<<30^SRANDOM|1<<62)>0]:?}*'
__weir_i+='${__weir_ok[(__weir_once>0)+10#0${__weir_once#"$(: weir-line)"}]:?'
__weir_i+='refused: who was to ask about this line has ended, so nothing of it is done}]:+}'
PS0=$__weir_i PS2='$(: weir-more)> ' PROMPT_COMMAND=': weir-prompt' HISTSIZE=1000 INPUTRC=/dev/null __weir_next=1
\set -B +kH -o history
\shopt -u cmdhist
\shopt -s lithist promptvars
if [[ $PS0 != "$__weir_i" || $PS2 != '$(: weir-more)> ' || ${PROMPT_COMMAND@A} != "PROMPT_COMMAND=': weir-prompt'" || $HISTSIZE != 1000 ||
  -n ${HISTCONTROL+x}${HISTIGNORE+x}${HISTTIMEFORMAT+x} ]]; then
  \builtin printf 'weir: refused: files of this host or login make constant what the gate of a shell sets: %s\n' \
    'HISTCONTROL, HISTIGNORE, HISTSIZE, HISTTIMEFORMAT, PROMPT_COMMAND, PS0, or PS2' 1> "$__weir_t"
  \exit 126
fi
# Who asks about a line needs more memory than the shell has taken for it: where there is none left it dies, and no line is done.
\builtin ulimit -S -v unlimited 2> /dev/null
\builtin ulimit -S -d unlimited 2> /dev/null
if [[ $(\builtin ulimit -v) != unlimited || $(\builtin ulimit -d) != unlimited ]]; then
  \builtin printf 'weir: refused: this host limits the memory of its logins (ulimit -v, -d), and who asks about a line could die of it\n' \
    1> "$__weir_t"
  \exit 126
fi
\unset -v __weir_i
\readonly HISTCONTROL HISTIGNORE HISTSIZE INPUTRC PS0 PS2 PROMPT_COMMAND SRANDOM
\set -T
\shopt -s extdebug
# bash ignores it, and who asks about a line must not die of it.
\trap '' QUIT
# With the last word of the command before it, which $_ is of this one then.
\trap '\__weir_gate "${_-}"' DEBUG
: weir-live
