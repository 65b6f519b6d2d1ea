//! A witness of transparency logs (C2SP tlog-witness) for tests, that can misbehave.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tlog::witness::Request;
use tlog::{CosignatureSigner, Ed25519Verifier, Note, Tree, open_checkpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::WitnessOptions;

/// How a witness of the tests behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Manner {
    Good,
    /// It says nothing.
    Silent,
    /// It sends what never ends.
    Endless,
    Nonsense,
    /// It signs something else.
    WrongSignature,
    /// It has seen another tree of this size.
    Fork,
}

/// One that remembers the last tree of each log, as a witness must.
pub struct TestWitness {
    url: String,
    pub vkey: String,
    pub manner: Arc<Mutex<Manner>>,
    /// Sizes that it signed.
    pub signed: Arc<Mutex<Vec<u64>>>,
}

impl TestWitness {
    pub async fn start(name: &str, seed: u8, log_key: &crate::TrustedKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let signer = CosignatureSigner::from_seed(name, &[seed; 32], now.as_secs()).unwrap();
        let this = Self {
            url,
            vkey: signer.vkey(),
            manner: Arc::new(Mutex::new(Manner::Good)),
            signed: Arc::default(),
        };
        let (manner, signed) = (this.manner.clone(), this.signed.clone());
        let key = log_key.clone();
        tokio::spawn(async move {
            let mut seen = HashMap::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                // Weir gives up asking when somebody is in a hurry.
                let Some(body) = request(&mut socket).await else {
                    continue;
                };
                let manner = *manner.lock();
                let answer = match manner {
                    Manner::Silent => {
                        // The socket stays open.
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_secs(60)).await;
                            drop(socket);
                        });
                        continue;
                    }
                    Manner::Endless => {
                        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                        socket.write_all(head).await.ok();
                        while socket.write_all(&[b'a'; 4096]).await.is_ok() {}
                        continue;
                    }
                    Manner::Nonsense => (200, "text/plain", "what?\n".to_owned()),
                    Manner::Fork => (409, "text/plain", String::new()),
                    Manner::Good | Manner::WrongSignature => {
                        let wrong = manner == Manner::WrongSignature;
                        answer(&body, &key, &signer, &mut seen, wrong)
                    }
                };
                if answer.0 == 200 && manner == Manner::Good {
                    signed
                        .lock()
                        .push(*seen.values().map(|(size, _)| size).max().unwrap());
                }
                respond(&mut socket, answer).await;
            }
        });
        this
    }

    pub fn options(&self) -> WitnessOptions {
        WitnessOptions {
            url: self.url.clone(),
            key: self.vkey.parse().unwrap(),
        }
    }
}

type Answered = (u16, &'static str, String);

/// What C2SP tlog-witness has a witness do.
fn answer(
    body: &[u8],
    key: &crate::TrustedKey,
    signer: &CosignatureSigner,
    seen: &mut HashMap<String, (u64, tlog::Hash)>,
    wrong: bool,
) -> Answered {
    let request = Request::parse(body).unwrap();
    let origin = request.checkpoint.lines().next().unwrap().to_owned();
    let verifier = Ed25519Verifier::new(&origin, key.public()).unwrap();
    let note = request.checkpoint.as_bytes();
    let Ok(opened) = open_checkpoint(note, &origin, &[&verifier], &[]) else {
        return (403, "text/plain", String::new());
    };
    let new = opened.checkpoint;
    let (size, root) = *seen
        .entry(origin.clone())
        .or_insert((0, Tree::new().root()));
    if request.old != size {
        return (409, "text/x.tlog.size", format!("{size}\n"));
    }
    let proof = tlog::check_consistency(size, &root, new.size, &new.root, &request.proof);
    if proof.is_err() {
        return (422, "text/plain", String::new());
    }
    seen.insert(origin, (new.size, new.root));
    let mut note = match wrong {
        true => Note::new(format!("example.com/other\n1\n{}=\n", "A".repeat(43))).unwrap(),
        false => opened.note,
    };
    let before = note.signatures().len();
    note.sign(signer).unwrap();
    assert_eq!(note.signatures().len(), before + 1);
    let text = note.encode();
    (
        200,
        "text/plain",
        format!("{}\n", text.trim_end().lines().last().unwrap()),
    )
}

async fn request(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut part = [0; 4096];
        let n = socket.read(&mut part).await.unwrap_or(0);
        all.extend_from_slice(&part[..n]);
        let Some(at) = all.windows(4).position(|w| w == b"\r\n\r\n") else {
            if n == 0 {
                return None;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&all[..at]).to_lowercase();
        assert!(head.starts_with("post /add-checkpoint "), "{head}");
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.unwrap().trim().parse().unwrap();
        if all.len() >= at + 4 + length {
            return Some(all[at + 4..].to_vec());
        }
        if n == 0 {
            return None;
        }
    }
}

async fn respond(socket: &mut TcpStream, (status, media, body): Answered) {
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {media}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .ok();
}
