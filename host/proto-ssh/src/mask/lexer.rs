//! What a terminal does with each byte (ECMA-48), as far as it matters for what can be read: is it shown, is
//! it part of a sequence, does it end a line, does it take back what was shown.

/// A control sequence that is longer is none. Strings (titles, clipboards) may have any length: what is in
/// them is looked at like everything else.
const MAX_CONTROL: u16 = 256;
/// No terminal is wider, and no number in a sequence means more.
pub(super) const WIDEST: u16 = 4096;

/// What one byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Visible,
    /// The line ends.
    Gap,
    /// The cursor goes back by so many places.
    Back(u16),
    /// The cursor goes to another place.
    Moved,
    /// Nothing of it is seen, and it may not be changed.
    Hidden,
    /// Of a string that is not shown, but can be read by whoever reads the bytes.
    Payload,
    /// The next byte tells.
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    /// After 0xC2: a control character of two bytes may follow (U+0080 to U+009F).
    Wide,
    Escape,
    Intermediate,
    Control,
    /// OSC, DCS, SOS, PM or APC, until its terminator.
    Text,
    /// An escape inside of it.
    TextEscape,
    /// 0xC2 inside of it.
    TextWide,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Lexer {
    state: State,
    /// Of the control sequence: its first number, its length.
    number: u16,
    length: u16,
    plain: bool,
}

impl Lexer {
    /// Is it outside of every sequence?
    pub fn is_ground(&self) -> bool {
        self.state == State::Ground
    }

    pub fn next(&mut self, c: u8) -> Class {
        match self.state {
            State::Ground => self.ground(c),
            State::Wide => {
                self.state = State::Ground;
                match c {
                    0x80..=0x9F => self.escaped(c - 0x40),
                    // The caller shows what was kept, then this.
                    _ => self.ground(c),
                }
            }
            State::Escape => self.escaped(c),
            State::Intermediate => match c {
                0x20..=0x2F => self.longer(),
                0x1B => self.enter(State::Escape),
                0x18 | 0x1A => self.enter(State::Ground),
                0x00..=0x1F | 0x7F => carried_out(c),
                _ => self.enter(State::Ground),
            },
            State::Control => self.control(c),
            State::Text | State::TextEscape | State::TextWide => self.text(c),
        }
    }

    fn ground(&mut self, c: u8) -> Class {
        match c {
            0x1B => self.enter(State::Escape),
            0x08 => Class::Back(1),
            0x0A..=0x0D => Class::Gap,
            0x09 | 0x20..=0x7E => Class::Visible,
            0x00..=0x1F | 0x7F => Class::Hidden,
            0xC2 => {
                self.state = State::Wide;
                Class::Later
            }
            0x80.. => Class::Visible,
        }
    }

    /// After ESC; a character beyond ASCII of two bytes stands for ESC and another one.
    fn escaped(&mut self, c: u8) -> Class {
        (self.number, self.length, self.plain) = (0, 0, true);
        match c {
            b'[' => self.enter(State::Control),
            b']' | b'P' | b'X' | b'^' | b'_' => self.enter(State::Text),
            0x20..=0x2F => self.enter(State::Intermediate),
            0x1B => Class::Hidden,
            // Index, next line, reverse index.
            b'D' | b'E' | b'M' => {
                self.state = State::Ground;
                Class::Gap
            }
            0x18 | 0x1A => self.enter(State::Ground),
            0x00..=0x1F | 0x7F => carried_out(c),
            0x30..=0x7E => self.enter(State::Ground),
            _ => {
                self.state = State::Ground;
                self.ground(c)
            }
        }
    }

    fn control(&mut self, c: u8) -> Class {
        match c {
            b'0'..=b'9' => {
                if self.plain {
                    let digit = u16::from(c - b'0');
                    let number = self.number.saturating_mul(10).saturating_add(digit);
                    self.number = number.min(WIDEST);
                }
                self.longer()
            }
            0x20..=0x3F => {
                self.plain = false;
                self.longer()
            }
            0x40..=0x7E => {
                self.state = State::Ground;
                match c {
                    b'D' => Class::Back(self.number.max(1)),
                    // Up, down, right, lines, columns, places, tabs.
                    b'A'..=b'I' | b'Z' | b'`' | b'a' | b'd' | b'e' | b'f' => Class::Moved,
                    _ => Class::Hidden,
                }
            }
            0x1B => self.enter(State::Escape),
            0x18 | 0x1A => self.enter(State::Ground),
            0x00..=0x1F | 0x7F => carried_out(c),
            _ => {
                self.state = State::Ground;
                self.ground(c)
            }
        }
    }

    fn text(&mut self, c: u8) -> Class {
        match (self.state, c) {
            (State::TextEscape, b'\\') | (State::TextWide, 0x9C) => self.enter(State::Ground),
            (State::TextEscape, _) => {
                self.state = State::Escape;
                self.escaped(c)
            }
            (_, 0x07 | 0x18 | 0x1A) => self.enter(State::Ground),
            (_, 0x1B) => self.enter(State::TextEscape),
            (_, 0xC2) => {
                self.state = State::TextWide;
                Class::Payload
            }
            _ => {
                self.state = State::Text;
                Class::Payload
            }
        }
    }

    fn enter(&mut self, state: State) -> Class {
        self.state = state;
        Class::Hidden
    }

    fn longer(&mut self) -> Class {
        self.length += 1;
        if self.length > MAX_CONTROL {
            self.state = State::Ground;
        }
        Class::Hidden
    }
}

/// A control character inside of a sequence, which goes on behind it.
fn carried_out(c: u8) -> Class {
    match c {
        0x08 => Class::Back(1),
        0x0A..=0x0D => Class::Gap,
        _ => Class::Hidden,
    }
}
