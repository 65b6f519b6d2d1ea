//! What the fuzz targets drive and nobody else can name: each takes any bytes, does with them what they say, and
//! asserts what has to hold whatever they are. Only there when the crate is compiled for fuzzing.

pub use crate::gate::fuzzing::{gate, lines};
pub use crate::jump::fuzzing::jump;
pub use crate::relay::fuzzing::relay;
pub use crate::startup::fuzzing::userauth;
pub use crate::upstream::fuzzing::login;

/// Takes the bytes of a script apart; at its end there are zeros.
pub(crate) struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// Some bytes, behind how many they are.
    pub fn bytes(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(n);
        self.0 = rest;
        some
    }

    /// Mostly a small number, and now and then one of those at which something could overflow.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => u32::MAX - 1,
            253 => i32::MAX as u32,
            252 => 32 << 10,
            251 => 4 << 20,
            n => n.into(),
        }
    }
}
