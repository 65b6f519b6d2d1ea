//! Who decides about what the clients' statements wait for: as the statement itself says.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::weir::Weir;

/// Longer than the heartbeat of a hold, so that every client gets one.
const THINKING: Duration = Duration::from_millis(1_300);
/// The API takes a few hundred calls a minute.
const LOOK_EVERY: Duration = Duration::from_millis(400);

pub struct People {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
    thread: JoinHandle<()>,
}

impl People {
    pub fn decide(weir: Arc<Weir>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let (stopped, counts) = (stop.clone(), seen.clone());
        let token = weir
            .token("bob@example.test", &["approvers", "security"])
            .unwrap();
        let thread = std::thread::spawn(move || {
            let mut known: HashMap<String, Option<Instant>> = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                look(&weir, &token, &mut known, &counts);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, seen, thread }
    }

    /// How many statements of this principal have waited.
    pub fn seen(&self, principal: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.get(principal).copied().unwrap_or_default()
    }

    pub fn leave(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// `known`: since when each hold is known; nothing if it is decided.
fn look(
    weir: &Weir,
    token: &str,
    known: &mut HashMap<String, Option<Instant>>,
    seen: &Mutex<BTreeMap<String, usize>>,
) {
    let page = weir.api(token, "GET", "/approvals?state=open", None);
    let page = page.unwrap().ok().unwrap();
    for hold in page["items"].as_array().into_iter().flatten() {
        let id = text(&hold["id"]);
        match known.get(id) {
            Some(None) => continue,
            Some(Some(since)) if since.elapsed() < THINKING => continue,
            Some(Some(_)) => {}
            None => {
                known.insert(id.into(), Some(Instant::now()));
                *seen
                    .lock()
                    .unwrap()
                    .entry(text(&hold["principal"]).into())
                    .or_default() += 1;
                continue;
            }
        }
        let detail = weir.api(token, "GET", &format!("/approvals/{id}"), None);
        let detail = detail.unwrap().ok().unwrap();
        let statement = text(&detail["statement"]["text"]);
        // A hold that its client has given up meanwhile is no error.
        if statement.contains("/* approve */") {
            weir.approve(token, id).unwrap();
        } else if statement.contains("/* deny */") {
            weir.deny(token, id, "not today").unwrap();
        }
        known.insert(id.into(), None);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
