//! What people type to get something past a gate: each leaves a trace at `@`, if it gets through.

/// Each leaves a trace at `@`, if the gate lets it. Several lines are pasted at once.
pub const TRICKS: &[(&str, &str)] = &[
    ("plain", "touch @"),
    ("in a list", "echo x; touch @"),
    ("behind and", "true && touch @"),
    ("behind or", "false || touch @"),
    ("in a pipeline", "echo x | tee @"),
    ("at the start of one", "touch @ | cat"),
    ("in a subshell", "(touch @)"),
    ("in braces", "{ touch @; }"),
    ("in a function", "f() { touch @; }; f"),
    (
        "in a function of a function",
        "g() { f2() { touch @; }; f2; }; g",
    ),
    ("in a loop", "for i in 1 2; do touch @; done"),
    ("in a while", "while touch @; do break; done"),
    ("in an if", "if touch @; then :; fi"),
    ("in a case", "case x in x) touch @;; esac"),
    ("eval", "eval 'tou''ch @'"),
    ("eval of a variable", "v='touch @'; eval \"$v\""),
    ("a command substitution", "echo $(touch @)"),
    ("backquotes", "echo `touch @`"),
    ("a process substitution", "cat <(touch @)"),
    ("a word of a variable", "X=touch; $X @"),
    ("an alias", "alias q='touch @'\nq"),
    ("an alias of the gate", "alias __weir_gate=:\ntouch @"),
    (
        "an alias by its table",
        "BASH_ALIASES[__weir_gate]=:\ntouch @",
    ),
    ("a redirection", "echo x > @"),
    ("a redirection alone", "> @"),
    ("appending", "echo x >> @"),
    ("a here-document for a shell", "sh <<E\ntouch @\nE"),
    ("a here-string for a shell", "bash <<< 'touch @'"),
    ("sh -c", "sh -c 'touch @'"),
    ("a pipe into sh", "echo 'touch @' | sh"),
    ("base64 into sh", "echo dG91Y2g= | base64 -d | sh -s @"),
    ("exec", "exec sh -c 'touch @'"),
    (
        "a program that is not there in its place",
        "shopt -s execfail; exec nosuchprogram\ntouch @",
    ),
    (
        "another name of the directory",
        "cd /; read PWD <<< /var/run/..\ntouch ./@; cd /",
    ),
    (
        "a function's name that is forged",
        "unset FUNCNAME\necho x $((FUNCNAME=1)); { echo x $((FUNCNAME=1)); } > @",
    ),
    ("names of hosts", "HOSTFILE=@; touch @"),
    ("env", "env touch @"),
    ("xargs", "echo @ | xargs touch"),
    ("find -exec", "find / -maxdepth 0 -exec touch @ \\;"),
    ("awk", "awk 'BEGIN{system(\"touch @\")}'"),
    ("coproc", "coproc touch @"),
    ("in the background", "touch @ &"),
    ("a trap for nothing", "trap 'touch @' EXIT; trap - EXIT"),
    (
        "a trap at every return",
        "trap 'touch @' RETURN\nh() { :; }; h\ntrap - RETURN",
    ),
    ("the trap away", "trap - DEBUG\ntouch @"),
    ("the trap emptied", "trap '' DEBUG\ntouch @"),
    ("the trap away, in quotes", "\"tr\"ap - DEB\"UG\"\ntouch @"),
    ("the trap away by builtin", "builtin trap - DEBUG\ntouch @"),
    ("the trap away by eval", "eval 'trap - DEBUG'\ntouch @"),
    (
        "the trap away in a function",
        "t() { trap - DEBUG; }; t\ntouch @",
    ),
    ("another trap", "trap : DEBUG\ntouch @"),
    ("extdebug off", "shopt -u extdebug\ntouch @"),
    ("functrace off", "set +T\nw() { touch @; }; w"),
    (
        "functrace off by name",
        "set +o functrace\nw2() { touch @; }; w2",
    ),
    ("the gate unset", "unset -f __weir_gate\ntouch @"),
    ("the gate redefined", "__weir_gate() { :; }\ntouch @"),
    (
        "builtins redefined",
        "builtin() { :; }; command() { :; }; read() { :; }; printf() { :; }; return() { :; }; unset() { :; }; kill() { :; }\ntouch @\nunset -f builtin command read printf return unset kill",
    ),
    (
        "a builtin locked",
        "true() { :; }; readonly -f true\ntouch @",
    ),
    ("builtins away", "enable -n builtin\ntouch @"),
    (
        "BASH_COMMAND unset",
        "unset BASH_COMMAND; BASH_COMMAND=ls\ntouch @",
    ),
    ("BASH_COMMAND set", "BASH_COMMAND=ls\ntouch @"),
    (
        "BASH_COMMAND local",
        "l() { local BASH_COMMAND=ls; touch @; }; l",
    ),
    ("POSIX mode", "set -o posix\ntouch @"),
    ("POSIX mode by variable", "POSIXLY_CORRECT=1\ntouch @"),
    ("the secret printed", "echo $__weir_n > @"),
    (
        "PROMPT_COMMAND",
        "PROMPT_COMMAND='touch @'\n:\nunset PROMPT_COMMAND",
    ),
    ("a prompt", "PS1='$(touch @)$ '\n:\nPS1='$ '"),
    ("a key", "bind -x '\"\\C-t\": touch @'\n\u{14}"),
    (
        "a completion",
        "comp() { touch @; }; complete -F comp zz\nzz \t\u{15}",
    ),
    (
        "what completion expands",
        "cat \"./$(($({ :; } > @)))/\t\u{15}",
    ),
    (
        "the same by another key",
        "cat \"./${a[$({ :; } > @)]}/\u{1b}?\u{1b}*\u{15}",
    ),
    (
        "a function that is called :",
        ":() { touch @; }\n:\nunset -f :",
    ),
    ("history", "echo x\n!touch"),
    ("a subscript", "a[$(touch @)]=1"),
    ("arithmetic", "(( a[$(touch @)] ))"),
    ("a default", ": ${nothing:=$(touch @)}"),
    ("another directory", "cd / ; touch .@"),
    (
        "another directory by CDPATH",
        "CDPATH=/; cd tmp; touch ..@; cd /",
    ),
    ("nocasematch and all", "set -fu; IFS=yes; touch @"),
    (
        "verdicts of one's own",
        "for p in /tmp/weir-*/main; do echo yes > $p; done\ntouch @",
    ),
    ("time", "time touch @"),
    ("not", "! touch @"),
    ("select", "select x in touch; do $x @; break; done <<< 1"),
    ("a file", "printf 'touch @' > @.sh; . @.sh"),
    ("dot from a pipe", ". <(echo touch @)"),
    ("a variable of the loader", "LD_PRELOAD=/x touch @"),
    // What bash does is not what it says, then.
    ("a bash of old", "BASH_COMPAT=4.2\necho \\' > @ \\'"),
    (
        "a bash of old by an option",
        "shopt -s compat42\necho \\' > @ \\'",
    ),
    ("no comments", "shopt -u interactive_comments\necho x # > @"),
];

/// What only who may do nearly everything can write. Most of them ran once, in a gate that was not as it is.
pub const DEEPER: &[(&str, &str)] = &[
    // Not that anybody gets through, but it is what it is without a gate.
    (
        "the last word of a command",
        ": x\n[[ $_ == x ]] || echo x > @",
    ),
    ("the trap away by a word", "x=trap; $x - DEBUG\ntouch @"),
    ("the same by builtin", "x=trap; builtin $x - DEBUG\ntouch @"),
    ("the same by a pattern", "{trap,-,DEBUG}\ntouch @"),
    (
        "an integer",
        "declare -i integer\ninteger='a[$({ :; } > @)]'\nunset integer",
    ),
    (
        "completion again",
        "bind 'set disable-completion off'; bind '\"\\C-i\": complete'\ncat \"./$(($({ :; } > @)))/\t\u{15}",
    ),
    (
        "the same by a word that is nothing",
        "x=; $x trap - DEBUG\ntouch @",
    ),
    ("the same by eval", "x='trap - DEBUG'; eval \"$x\"\ntouch @"),
    (
        "the same by a file",
        "echo trap - DEBUG > @.sh; . @.sh\ntouch @",
    ),
    ("another trap", "x=DEBUG; trap : $x\ntouch @"),
    ("a trap for errors", "trap 'touch @' ERR\nfalse\ntrap - ERR"),
    ("extdebug off by a word", "x=extdebug; shopt -u $x\ntouch @"),
    ("functrace off by a word", "x=set; $x +T\n(touch @)"),
    (
        "functrace off by an option",
        "x=+T; set -e $x; set +e\n(touch @)",
    ),
    (
        "what is shown of a trace",
        "PS4='$(touch @)'\nset -x\n:\nset +x",
    ),
    (
        "the same for one command",
        "PS4='$(touch @)' eval 'set -x; :; set +x'",
    ),
    (
        "a variable that computes",
        "shopt -s localvar_inherit; x=__we; declare -i ${x}ir_c\na[$(touch @)]=1",
    ),
    ("how deep functions go", "FUNCNEST=1\nf() { touch @; }; f"),
    ("words that are variables", "set -k\ntouch @ a=1\nset +k"),
    ("no more files", "(ulimit -n 6; touch @)"),
    ("no more files in one word", "(ulimit -n6; touch @)"),
    (
        "a name behind what a prompt takes",
        "x='a[$(touch @)]'\nread -r -pn \"$x\" <<< v",
    ),
    (
        "a process of its own number",
        "unset BASHPID; BASHPID=1\ntouch @",
    ),
    (
        "a function of its own depth",
        "unset FUNCNAME; FUNCNAME=(a b)\ntouch @",
    ),
    (
        "another mkfifo",
        "hash -p /bin/true mkfifo; PATH=/nowhere\n(/bin/touch @)\nPATH=/usr/bin:/bin",
    ),
    ("history by an editor", "fc -e 'touch @' 1"),
    (
        "a command that is not there",
        "command_not_found_handle() { touch @; }; nosuchcommand-x",
    ),
    (
        "mail",
        "MAILPATH='/etc/passwd?$(touch @)' MAILCHECK=0\n:\nunset MAILPATH",
    ),
    ("a value that computes", "declare -i n; n='b[$(touch @)]'"),
    ("the history's file", "HISTFILE=@\nhistory -a"),
    ("another coproc", "coproc Q { touch @; }"),
    (
        "another program by a name's place",
        "hash -p /usr/bin/touch ls\nls @\nhash -r",
    ),
    (
        "another program by the table of places",
        "BASH_CMDS[ls]=/usr/bin/touch\nls @\nhash -r",
    ),
    (
        "the same by a name that is made",
        "x=BASH_; declare \"${x}CMDS[ls]=/usr/bin/touch\"\nls @\nhash -r",
    ),
    (
        "the same by another name",
        "declare -n x=BASH_\"CM\"DS; x[ls]=/usr/bin/touch\nls @\nhash -r",
    ),
    (
        "another program by PATH",
        "ln -s /usr/bin/touch @.ls; mkdir @.d; mv @.ls @.d/ls; PATH=@.d\nls @",
    ),
    (
        "an alias of what the gate runs",
        "alias builtin='touch @; builtin' command='touch @; command'\nmkdir '@.a b'; cd '@.a b'\n:\ncd /; unalias builtin command",
    ),
    ("what the gate's functions are", "set > @"),
    ("the same by name", "declare -f > @; cd /; type __w* > @"),
    ("what every program gets", "set -a; e=x; env > @"),
    // Constant as they are, bash lets them become arrays.
    (
        "what is asked about, for ever",
        "declare -a BASH_COMMAND\ntouch @",
    ),
    (
        "the same by another name of it",
        "typeset -gA BASH_COMMAND BASHPID\n(touch @)",
    ),
    (
        "another program by no PATH",
        "mkdir @.d; ln -s /usr/bin/touch @.d/ls; cd @.d; declare -a PATH; ls @; cd /",
    ),
    // Asking, the gate has to set it.
    (
        "a name of what bash sets",
        "x=BASH; declare -n ${x}_COMPAT='a[$(touch @)]'\n:",
    ),
    (
        "PATH by a loop",
        "mkdir @.d; ln -s /usr/bin/touch @.d/ls; for PATH in @.d; do ls @; done",
    ),
    (
        "PATH of a function",
        "mkdir @.d; ln -s /usr/bin/touch @.d/ls; p() { local PATH=@.d; ls @; }; p",
    ),
];

/// What bash opens, expands or runs around its simple commands, which it does not ask about by itself.
pub const AROUND: &[(&str, &str)] = &[
    ("around a group", "{ :; } > @"),
    (
        "around a group, without braces",
        "set +B\neval {\\ :\\ x,#\\;\\ :\\;} \\> @\nset -B",
    ),
    (
        "between lines that bash prints and does not read",
        "cat <<'X'\na\nX\nif true; then\n!cat:p\n{ :; } > @\n!X:p\nfi",
    ),
    (
        "the same, where it was turned on",
        "set -H\ncat <<'X'\na\nX\nif true; then\n!cat:p\n{ :; } > @\n!X:p\nfi",
    ),
    (
        "a variable that braces make",
        "y='$(touch @)'; for x in {b,$}{y@P}; do :; done",
    ),
    ("around a subshell", "( : ) > @"),
    ("around an empty loop", "for i in; do :; done > @"),
    ("around a while", "while false; do :; done > @"),
    ("around an if", "if false; then :; fi > @"),
    ("around a case", "case x in y) ;; esac > @"),
    ("around a test", "[[ -n x ]] > @"),
    ("around arithmetic", "(( 1 )) > @"),
    ("around a function", "{ d() { :; }; } > @"),
    ("behind a function", "d2() { :; } > @; d2"),
    ("in the background", "{ :; } > @ &"),
    ("behind what is fine", "echo x; { :; } > @"),
    ("an error of bash", "{ :; } 2>> @ < $'/n\nTEXT\n'"),
    ("a list of a loop", "for x in ${y:?TEXT}; do :; done 2> @"),
    (
        "a loop that counts",
        "for ((i=${y:?TEXT};;)); do break; done 2> @",
    ),
    ("by eval", "eval '{ :; } > @'"),
    (
        "the builtins of the gate as aliases",
        "for x in ${y:?${BASH_ALIASES[builtin]:=touch @; builtin}}; do :; done\necho anything",
    ),
    (
        "the same by alias",
        "alias builtin='touch @; builtin' printf='touch @; printf'\necho anything",
    ),
    (
        "a variable that a program runs",
        "for x in ${y:?${GIT_EXTERNAL_DIFF:=touch @}}; do :; done\nexport GIT_EXTERNAL_DIFF\nsh -c '[ -z \"$GIT_EXTERNAL_DIFF\" ] || : > @'",
    ),
    ("another descriptor", "echo x 1<> @"),
    ("pasted", "\u{1b}[200~echo x\n{ :; } > @\u{1b}[201~\n"),
    (
        "pasted and gone on with",
        "\u{1b}[200~echo x\n{ :\u{1b}[201~\n} > @",
    ),
    ("of a here-document", "{ cat; } > @ <<E\nx\nE"),
    // Where the history is not what bash has read.
    (
        "empty lines behind a backslash",
        "if : \\\n\n{ :\n: \\\n\n} > @\nthen :; fi",
    ),
    (
        "a backslash in a here-document",
        "{ cat <<'X'\nfoo\\\nX\n} > @ <<'Z'\nX\n}\nZ",
    ),
    (
        "a backslash in a comment",
        "{ echo a # foo\\\n} > @ <<Z\n}\nZ",
    ),
    ("no history", "set +o history\n{ :; } > @\nset -o history"),
    (
        "no history by a blank",
        "HISTCONTROL=ignorespace\n { :; } > @",
    ),
    ("no history by a pattern", "HISTIGNORE='*'\n{ :; } > @"),
    ("no room in the history", "HISTSIZE=0\n{ :; } > @"),
    ("another history", "history -s 'echo x'\n{ :; } > @"),
    ("less history", "history -c\n{ :; } > @"),
    (
        "other lines of the history",
        "shopt -s cmdhist\n{ cat <<'X'\nfoo\\\nX\n} > @ <<'Z'\nX\n}\nZ",
    ),
    ("nothing before a line", "PS0=\n{ :; } > @"),
    ("the same by unset", "unset PS0\n{ :; } > @"),
    ("the same by an option", "shopt -u promptvars\n{ :; } > @"),
    ("nothing at a prompt", "PROMPT_COMMAND=\n{ :; } > @"),
    ("from the history", "x '{ :; } > @'\n!?x?:1:s/x/y/"),
    (
        "the same number for every line",
        "SRANDOM=5\ndeclare -a SRANDOM\n{ :; } > @",
    ),
    (
        "a variable of the line before",
        "x=__weir_o; readonly ${x}nce\n{ :; } > @",
    ),
    ("an asked line of one's own", "(: weir-line)\n{ :; } > @"),
    ("a prompt of one's own", ": weir-prompt\n{ :; } > @"),
    (
        "a key",
        "bind '\"\\C-t\": shell-expand-line'\n$(touch @)\u{14}\u{15}",
    ),
    ("a key that is there", "$(touch @)\u{1b}\u{5}\u{15}"),
    ("no more descriptors", "ulimit -n 6\n{ :; } > @"),
];

/// These end what can be done in a shell, or the shell.
pub const LAST: &[(&str, &str)] = &[
    (
        "the verdict set",
        "x=__we; readonly ${x}ir_v=yes\ntouch @\nexit",
    ),
    (
        "no POSIX mode",
        "x=POSIXLY; declare -n ${x}_CORRECT=x; unset() { return 0; }; builtin() { return 0; }\ntouch @\nexit",
    ),
    ("the history's file at the end", "HISTFILE=@\nexit"),
    ("a prompt before", "PS0=$'\\x24(touch @)'\n:\nPS0="),
    ("another shell in its place", "exec touch @\nexit"),
];
