//! How one row is tried: through Weir on both sides, then past it on both sides.

use std::panic::{AssertUnwindSafe, catch_unwind};

use weir_tests::wire::{Client, Reply};

use super::defence::{self, Defence};
use super::{Act, Row};
use crate::vaults::{Mode, Side, Vaults, ask, next};

/// Where a row is tried.
pub struct Scene<'a> {
    pub side: &'a Side,
    pub mode: Mode,
    pub through: bool,
    pub n: u32,
}

impl Scene<'_> {
    pub fn connect(&self) -> Client {
        if self.through {
            self.side.connect()
        } else {
            self.side.direct()
        }
    }

    pub fn database(&self) -> &'static str {
        if self.through {
            crate::vaults::DATABASE
        } else {
            crate::vaults::BARE
        }
    }

    pub fn text(&self, sql: &str) -> String {
        let port = self.side.cluster.port.to_string();
        sql.replace("{n}", &self.n.to_string())
            .replace("{db}", self.database())
            .replace("{port}", &port)
    }
}

/// What came of a row.
#[derive(Default)]
pub struct Tried {
    pub met: Vec<(Mode, Defence)>,
    pub wrong: Vec<String>,
}

/// All rows of one server.
pub struct Run<'a> {
    vaults: &'a Vaults,
    /// For statements that leave nothing behind.
    kept: [Option<Client>; 2],
}

impl<'a> Run<'a> {
    pub fn new(vaults: &'a Vaults) -> Self {
        Self {
            vaults,
            kept: [None, None],
        }
    }

    pub fn row(&mut self, row: &Row) -> Tried {
        let mut tried = Tried::default();
        let mut live = false;
        for &mode in row.modes {
            match catch_unwind(AssertUnwindSafe(|| self.mode(row, mode))) {
                Ok((defence, differs, wrong)) => {
                    live |= differs;
                    tried.met.push((mode, defence));
                    let wrong = wrong.into_iter().map(|w| format!("{}: {w}", mode.name()));
                    tried.wrong.extend(wrong);
                }
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    self.kept = [None, None];
                    tried
                        .wrong
                        .push(format!("{}: the client fails: {text}", mode.name()));
                }
            }
        }
        if !tried.wrong.is_empty() || row.alone {
            // What went wrong here must not be seen again in what comes next.
            self.kept = [None, None];
            self.vaults.reset();
        }
        match row.inert {
            None if !live => tried
                .wrong
                .push("past Weir it does not tell the vaults apart: it proves nothing".into()),
            Some(_) if live => tried.wrong.push("it is not inert".into()),
            _ => {}
        }
        tried
    }

    /// The defence, whether the same past Weir tells the vaults apart, and what is not as it should.
    fn mode(&mut self, row: &Row, mode: Mode) -> (Defence, bool, Vec<String>) {
        let n = next();
        let vaults = self.vaults;
        let scene = |i: usize, through| Scene {
            side: &vaults.sides[i],
            mode,
            through,
            n,
        };
        let mut wrong = Vec::new();
        let [(got_a, direct_a), (got_b, direct_b)] =
            self.both(row, |i| scene(i, true), |i| scene(i, false));
        let got = [got_a, got_b];
        let direct = [direct_a, direct_b];
        let streams = got.each_ref().map(|replies| vaults.stream(replies));
        let shown = |i: usize| {
            let text = String::from_utf8_lossy(&streams[i]).replace('\0', "·");
            text.chars().take(600).collect::<String>()
        };
        if streams[0] != streams[1] {
            wrong.push(format!(
                "tells the vaults apart:\n    {}\n    {}",
                shown(0),
                shown(1)
            ));
        }
        if let Some(secret) = vaults.secrets.find(&streams[0]) {
            wrong.push(format!("shows {secret}:\n    {}", shown(0)));
        }
        let met = defence::met(&got[0], &direct[0]);
        if !row.expect.allows(met) {
            wrong.push(format!(
                "{} instead of {}:\n    {}",
                met.name(),
                row.expect.name(),
                shown(0)
            ));
        }
        let differs = vaults.stream(&direct[0]) != vaults.stream(&direct[1]);
        (met, differs, wrong)
    }

    /// Both sides at the same time: what comes through Weir and past it.
    fn both<'s>(
        &mut self,
        row: &Row,
        through_weir: impl Fn(usize) -> Scene<'s> + Sync,
        past_weir: impl Fn(usize) -> Scene<'s> + Sync,
    ) -> [(Vec<Reply>, Vec<Reply>); 2] {
        let [a, b] = &mut self.kept;
        let one = |i: usize, kept: &mut Option<Client>| {
            let got = through(row, &through_weir(i), kept);
            (got, past(row, &past_weir(i)))
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| one(1, b));
            let got = one(0, a);
            match other.join() {
                Ok(other) => [got, other],
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn through(row: &Row, scene: &Scene<'_>, kept: &mut Option<Client>) -> Vec<Reply> {
    let steps = match row.act {
        Act::Wire(_, act) => return act(scene),
        Act::Sql(steps) => steps,
    };
    let mut client = match kept.take() {
        Some(client) if steps.len() == 1 => client,
        _ => scene.connect(),
    };
    let replies: Vec<Reply> = steps
        .iter()
        .map(|sql| ask(&mut client, scene.mode, &scene.text(sql)))
        .collect();
    let one = client.query("SELECT 1").unwrap();
    let usable = one.text(0, 0).as_deref() == Some("1");
    let in_transaction = replies.last().is_some_and(|r| r.status != b'I');
    assert!(
        usable || in_transaction,
        "the connection is not usable: {one:?}"
    );
    if steps.len() == 1 && !in_transaction {
        *kept = Some(client);
    }
    replies
}

/// What would come without Weir. What it changes is undone where that is possible.
fn past(row: &Row, scene: &Scene<'_>) -> Vec<Reply> {
    let steps = match row.act {
        Act::Wire(_, act) if row.inert.is_none() => return act(scene),
        Act::Wire(..) => return Vec::new(),
        Act::Sql(steps) => steps,
    };
    let mut client = scene.connect();
    if !row.alone {
        client.query("BEGIN").unwrap();
    }
    let replies = steps
        .iter()
        .map(|sql| {
            client.query("SAVEPOINT a").unwrap();
            let reply = ask(&mut client, scene.mode, &scene.text(sql));
            if reply.error().is_some() {
                client.query("ROLLBACK TO a").unwrap();
            }
            reply
        })
        .collect();
    client.query("ROLLBACK").unwrap();
    replies
}
