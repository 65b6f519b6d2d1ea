# Weir's side channel: passes what the shell asks on to Weir (standard output), and Weir's answers (standard input)
# on to the shell. Its arguments are the directory to make and the text of the shell's startup file; the secret and the
# key of the verdicts, two numbers, come first on standard input, because arguments can be seen by everybody.
IFS= read -r n && IFS=' ' read -r a b || exit 1
d=$1
say() { printf '%s %s\n' "$n" "$1"; }
if (( BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 501 )); then
  say "no bash is older than 5.1"
  exit 1
fi
if [[ ! -d /proc/self/fd || ! -r /proc/sys/kernel/random/uuid ]]; then
  say "no there is no /proc as Linux has it"
  exit 1
fi
for q in /usr/bin/mkfifo /bin/mkfifo ''; do [[ ! -x $q ]] || break; done
for r in /usr/bin/readlink /bin/readlink ''; do [[ ! -x $r ]] || break; done
if [[ -z $q || -z $r ]]; then
  say "no there is no /usr/bin/mkfifo or no /usr/bin/readlink"
  exit 1
fi
umask 077
if ! mkdir -m 700 -- "$d"; then
  say "no the directory $d cannot be made"
  exit 1
fi
reader= shell=
leave() {
  rm -rf -- "$d"
  [[ -z $reader ]] || kill "$reader"
  [[ -z $shell ]] || kill -HUP "$shell"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM PIPE
no() {
  say "no what the gate needs cannot be made in $d"
  exit 1
}
mkfifo -m 600 -- "$d/ask" "$d/main" || no
# Open before anybody could ask, and for as long as this lasts: what is written to a pipe that nobody has open is lost.
exec 3<> "$d/ask" || no
cat 0<&3 3<&- &
reader=$!
# By these shells know the pipes of gates.
ln -s -- "/proc/$$/fd" "$d/h" && ln -s -- "/proc/$reader/fd" "$d/e" || no
printf '__weir_n=%s __weir_d=%s __weir_h=%s __weir_e=%s __weir_q=%s __weir_r=%s\n__weir_key() {
  (( __weir_A = __weir_C = %s, __weir_B = __weir_D = %s, 1 ))\n}\n%s\n' \
  "$n" "$d" "$$" "$reader" "$q" "$r" "$a" "$b" "$2" > "$d/rc" || no
unset -v a b
say made
while IFS=' ' read -r to id verdict; do
  case $to in
    live) shell=$id; rm -f -- "$d/rc" ;;
    main) printf '%s %s\n' "$id" "$verdict" 1<> "$d/main" ;;
    *)
      if [[ -p $d/$to ]]; then
        printf '%s %s\n' "$id" "$verdict" 1<> "$d/$to"
        rm -f -- "$d/$to" &
      fi
      ;;
  esac
done 2> /dev/null
