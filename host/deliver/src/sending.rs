//! How a batch is sent: as a whole, and in parts where it is refused.

use std::time::Duration;

use crate::batch::{Batch, Event, Fate};
use crate::send::{Failure, Purpose, Send};
use crate::worker::Trouble;

/// When an event is set aside.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Between the first refusal and the last.
    pub span: Duration,
    /// So many were, since one was taken.
    pub in_a_row: u32,
    /// Attempts that have failed in a row.
    pub failures: u32,
}

/// After so many failures in a row it is looked if it is something in the batch that brings them about. Most
/// pass before that.
const FAILURES: u32 = 3;

/// Sends what has not been taken. Afterwards everything is taken, or was refused alone so often that it is
/// to be set aside; gives how many of those are at the end.
pub async fn send_all(
    sender: &mut dyn Send,
    batch: &mut Batch,
    probe: &mut Option<Event>,
    rule: Rule,
) -> Result<u32, Trouble> {
    let todo = batch.todo();
    let has_refused = batch.refused().next().is_some();
    if !todo.is_empty() && !has_refused {
        match sender.send(&batch.get(&todo), Purpose::Deliver).await {
            Ok(()) => {
                take(batch, &todo, probe);
                return Ok(at_the_end(batch, rule));
            }
            Err(failure) => {
                // Before all of it is tried in parts.
                let todo = look_into(sender, batch, todo, probe, rule, failure).await?;
                send_parts(sender, batch, todo, probe).await?;
            }
        }
    } else {
        // Each is sent alone: not while the receiver takes nothing at all.
        takes_anything(sender, probe.as_ref(), "it has refused some events").await?;
        let again: Vec<usize> = batch.refused().map(|(index, _, _)| index).collect();
        let again = again.into_iter().chain(todo).map(|index| vec![index]);
        for one in again.collect::<Vec<_>>() {
            send_parts(sender, batch, one, probe).await?;
        }
    }
    if batch.refused().next().is_none() {
        return Ok(at_the_end(batch, rule));
    }
    let why = "the receiver refused them alone".to_owned();
    if probe.is_none() {
        return Err(Trouble::Everything { why });
    }
    takes_anything(sender, probe.as_ref(), &why).await?;
    if !batch
        .refused()
        .all(|(_, _, refusals)| refusals.suffice(rule.span))
    {
        return Err(Trouble::Some { why });
    }
    batch
        .to_set_aside(rule.in_a_row)
        .ok_or(Trouble::Many { why })
}

/// Nothing was refused.
fn at_the_end(batch: &Batch, rule: Rule) -> u32 {
    let is_taken = |event: &Event| event.fate == Fate::Taken;
    match batch.events.iter().any(is_taken) {
        true => 0,
        false => rule.in_a_row,
    }
}

/// Can it hang on what was sent that the batch was not taken? Gives what is to be tried in parts.
async fn look_into(
    sender: &mut dyn Send,
    batch: &mut Batch,
    todo: Vec<usize>,
    probe: &mut Option<Event>,
    rule: Rule,
    failure: Failure,
) -> Result<Vec<usize>, Trouble> {
    let (why, after) = match failure {
        Failure::Refused { why } => {
            takes_anything(sender, probe.as_ref(), &why).await?;
            return Ok(todo);
        }
        Failure::Doubtful { why, after, .. } if rule.failures >= FAILURES => (why, after),
        Failure::Doubtful { why, after, .. } | Failure::Later { why, after } => {
            return Err(Trouble::Send { why, after });
        }
    };
    if probe.is_some() {
        takes_anything(sender, probe.as_ref(), &why).await?;
        return Ok(todo);
    }
    // Nothing was ever taken: one of these may be, and shows that others could.
    let ends = [todo.first(), todo.last().filter(|_| todo.len() > 1)];
    for index in ends.into_iter().flatten().copied() {
        let sent = sender.send(&batch.get(&[index]), Purpose::Deliver).await;
        if sent.is_ok() {
            take(batch, &[index], probe);
            return Ok(batch.todo());
        }
    }
    Err(Trouble::Send { why, after })
}

/// Halves what is refused until single events are.
async fn send_parts(
    sender: &mut dyn Send,
    batch: &mut Batch,
    all: Vec<usize>,
    probe: &mut Option<Event>,
) -> Result<(), Trouble> {
    let mut parts = match all.len() {
        0 => Vec::new(),
        1 => vec![all],
        len => {
            let (first, second) = all.split_at(len / 2);
            vec![second.to_vec(), first.to_vec()]
        }
    };
    while let Some(part) = parts.pop() {
        match sender.send(&batch.get(&part), Purpose::Deliver).await {
            Ok(()) => take(batch, &part, probe),
            Err(failure) => {
                let may_pass = match failure {
                    Failure::Refused { .. } => false,
                    Failure::Doubtful { may_pass, .. } => may_pass,
                    Failure::Later { why, after } => return Err(Trouble::Send { why, after }),
                };
                if part.len() <= 1 {
                    batch.mark(&part, |fate| fate.refused(may_pass));
                    continue;
                }
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second.to_vec());
                parts.push(first.to_vec());
            }
        }
    }
    Ok(())
}

fn take(batch: &mut Batch, part: &[usize], probe: &mut Option<Event>) {
    batch.mark(part, |_| Fate::Taken);
    if let Some(event) = batch.get(part).last() {
        *probe = Some((*event).clone());
    }
}

/// What the receiver has taken before it takes again, unless it takes nothing at all now.
async fn takes_anything(
    sender: &mut dyn Send,
    probe: Option<&Event>,
    why: &str,
) -> Result<(), Trouble> {
    let Some(probe) = probe else {
        return Ok(());
    };
    match sender.send(&[probe], Purpose::Probe).await {
        Ok(()) => Ok(()),
        Err(Failure::Refused { .. }) => Err(Trouble::Everything {
            why: why.to_owned(),
        }),
        Err(Failure::Later { why, after } | Failure::Doubtful { why, after, .. }) => {
            Err(Trouble::Send { why, after })
        }
    }
}
