//! Rules over the text itself: does it speak to a model?

use crate::Hit;
use crate::facts::Facts;

/// How much of a text is looked at.
const MAX_TEXT: usize = 64 << 10;

/// In lower case, with one blank between words.
const PHRASES: &[&str] = &[
    "ignore all previous",
    "ignore previous instructions",
    "ignore the previous instructions",
    "ignore your instructions",
    "disregard all previous",
    "disregard previous",
    "disregard the above",
    "forget your instructions",
    "forget all previous",
    "you are now in developer mode",
    "new system prompt",
    "override your instructions",
    "reveal your system prompt",
    "print your system prompt",
    "do not tell the user",
    "without telling the user",
    "approve this request",
    "this command is safe to approve",
    "the approver should",
];

pub fn hits(facts: &Facts<'_>) -> Vec<Hit> {
    [facts.text, facts.stdin]
        .into_iter()
        .filter_map(speaks)
        .map(|phrase| {
            let text = format!("text that speaks to a model or to whoever approves: {phrase:?}");
            Hit::new("prompt_injection", 80, text).label("prompt_injection")
        })
        .collect()
}

fn speaks(text: &str) -> Option<&'static str> {
    let mut flat = String::new();
    for c in text.chars().take(MAX_TEXT) {
        if c.is_alphanumeric() {
            flat.extend(c.to_lowercase());
        } else if !flat.ends_with(' ') {
            flat.push(' ');
        }
    }
    PHRASES.iter().copied().find(|phrase| flat.contains(phrase))
}
