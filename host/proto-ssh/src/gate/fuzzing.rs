//! Any bytes from the helper of a gated shell.

use crate::action::Unread;

use super::asks::fuzzing::read;
use super::*;

impl Gate {
    /// The same every time, and with a secret that is soon found.
    pub fn fixed() -> Self {
        Self {
            directory: "/tmp/weir-f".into(),
            secret: "s".into(),
            key: Key::fixed(1, 2),
        }
    }
}

/// However they come in pieces, the same is said; what is kept has its bounds; and each ask is read, and answered in
/// one line.
pub fn gate(data: &[u8]) {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let whole = read(data, usize::MAX);
    let cut = read(data, 1 + usize::from(*size));
    assert_eq!(whole, cut);
    for said in whole.0 {
        let Said::Ask(ask) = said else { continue };
        for yes in [true, false] {
            let answer = ask.answer(yes);
            let words: Vec<&str> = answer.split([' ', '\n']).collect();
            assert!(
                matches!(words[..], [_, _, "yes", _, ""] | [_, _, "no", ""]),
                "{answer:?}"
            );
            assert!(ask.to != "live", "that word is Weir's own");
        }
        let directory = ask.place.directory.as_deref();
        assert!(directory.is_none_or(|d| d.starts_with('/')));
        let gate = Gate::fixed();
        let line = Unread::gated(ask.text.clone(), ask.place.clone()).read();
        let why = about_the_gate(&ask.text, &ask.place, gate.directory(), &line.command);
        // Whatever stands around it, its own names are not touched.
        let text = String::from_utf8_lossy(&ask.text);
        assert!(why.is_some() || !text.contains("__weir_"), "{text:?}");
    }
}
