//! What waits for people: nothing has been decided, and nothing done.

use serde_json::{Value, json};

use super::{At, OTHER};

impl At<'_> {
    pub(super) fn held(&self) -> Value {
        let score = self.leaf.risk.as_ref().map_or(0, |risk| risk.score);
        let mut event = self.base(self.class(), OTHER, 2, "");
        event.push(("activity_name", json!("Hold")));
        self.subject(&mut event);
        event.push(("risk_score", json!(score)));
        event.push(("status_detail", json!("held")));
        self.unmapped(event)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::events;
    use super::*;
    use crate::leaf::Leaf;

    #[test]
    fn a_hold_is_an_event_of_its_actions_class() {
        for (protocol, class) in [(None, 6005), (Some("ssh"), 4007)] {
            let leaf = json!({
                "type": "hold", "time": "2026-11-20T12:34:56.789012Z", "v": 1, "seq": 2, "n": 3,
                "sid": "01a219f0-9377-72b1-b75a-eae60ae78e03", "target": "shop", "protocol": protocol,
                "who": {"id": "aa", "kind": "Agent", "act": ["bb"]}, "decision": "held",
                "hold": {"id": "hold-1", "rules": ["risky"]}, "risk": {"score": 70},
            });
            let leaf = Leaf::parse(leaf.to_string().as_bytes()).unwrap();
            let events = events(Uuid::nil(), 7, &leaf);
            let [event] = &events[..] else {
                panic!("{events:?}");
            };
            assert_eq!(event["class_uid"], class);
            assert_eq!(
                (&event["activity_id"], &event["status_detail"]),
                (&json!(99), &json!("held"))
            );
            assert_eq!(
                (&event["unmapped"]["hold"], &event["risk_score"]),
                (&json!("hold-1"), &json!(70))
            );
            // Nobody has let it through or refused it.
            assert!(event.get("action_id").is_none() && event.get("status_id").is_none());
        }
    }
}
