//! Tokens and keys: JSON Web Tokens, private keys, keys of well-known services.

use super::{Detector, Found, byte, is_word, run};

pub fn is_base64url(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')
}

/// What is known of a place, and up to where: what begins in the same part is none either, or ends where
/// this one does.
pub struct Jwt {
    pub found: Option<Found>,
    pub part: usize,
}

/// `eyJ….e….…`: both parts are JSON objects in base64url; the signature may be empty.
pub fn jwt(value: &[u8], at: usize) -> Jwt {
    let part = |at: usize| run(value, at, usize::MAX, is_base64url);
    let begins = |at: usize, with: &[u8]| value.get(at..).is_some_and(|v| v.starts_with(with));
    let none = |part: usize| Jwt { found: None, part };
    if !begins(at, b"eyJ") {
        return none(at);
    }
    let header = at + part(at);
    // A payload is an object too; what follows its brace may be white space.
    if header - at < 10 || byte(value, header) != b'.' || !begins(header + 1, b"e") {
        return none(header);
    }
    let payload = header + 1 + part(header + 1);
    if payload < header + 3 || byte(value, payload) != b'.' {
        return none(header);
    }
    let found = Found {
        start: at,
        end: payload + 1 + part(payload + 1),
        what: Detector::Jwt,
    };
    Jwt {
        found: Some(found),
        part: header,
    }
}

/// From `-----BEGIN … PRIVATE KEY-----` to its end, or to the end of the value if it has none. Gives where
/// the end begins, too: what begins before it ends where this one does.
pub fn pem(value: &[u8], at: usize) -> Option<(Found, usize)> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    const DASHES: &[u8] = b"-----";
    const LONGEST_TITLE: usize = 75;
    let rest = value.get(at..)?;
    let title = rest.strip_prefix(BEGIN)?;
    let title = title.get(..title.len().min(LONGEST_TITLE))?;
    let len = find(title, 0, DASHES).unwrap_or(title.len());
    find(title.get(..len)?, 0, b"PRIVATE KEY")?;
    let body = BEGIN.len() + len;
    let last = find(rest, body, END).unwrap_or(rest.len());
    let end = find(rest, last + END.len(), DASHES).map_or(rest.len(), |end| end + DASHES.len());
    let found = Found {
        start: at,
        end: at + end,
        what: Detector::PrivateKey,
    };
    Some((found, at + last))
}

fn find(value: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = value.get(from..)?;
    let at = rest.windows(what.len()).position(|w| w == what)?;
    Some(from + at)
}

/// A token that is told by how it begins.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    pub prefix: &'static [u8],
    /// How many characters follow at least and at most.
    pub least: usize,
    pub most: usize,
    /// Out of which alphabet.
    pub alphabet: fn(u8) -> bool,
}

impl Token {
    const fn new(
        prefix: &'static [u8],
        least: usize,
        most: usize,
        alphabet: fn(u8) -> bool,
    ) -> Self {
        Self {
            prefix,
            least,
            most,
            alphabet,
        }
    }

    /// With a prefix that is no proof by itself, exactly so many characters follow.
    pub fn is_exact(&self) -> bool {
        self.least == self.most
    }
}

/// Longer than any that is given out.
const LONG: usize = 255;
const LONGER: usize = 4096;

pub const TOKENS: &[Token] = &[
    // Amazon: key ids, and what every session token begins with.
    Token::new(b"AKIA", 16, 16, is_upper),
    Token::new(b"ASIA", 16, 16, is_upper),
    Token::new(b"ABIA", 16, 16, is_upper),
    Token::new(b"ACCA", 16, 16, is_upper),
    Token::new(b"IQoJb3JpZ2luX2Vj", 100, LONGER, is_base64),
    // GitHub, GitLab.
    Token::new(b"ghp_", 36, LONG, is_alphanumeric),
    Token::new(b"gho_", 36, LONG, is_alphanumeric),
    Token::new(b"ghu_", 36, LONG, is_alphanumeric),
    Token::new(b"ghs_", 36, LONG, is_alphanumeric),
    Token::new(b"ghr_", 36, LONG, is_alphanumeric),
    Token::new(b"github_pat_", 22, LONG, is_word_ascii),
    Token::new(b"glpat-", 20, LONG, is_base64url),
    Token::new(b"gldt-", 20, LONG, is_base64url),
    Token::new(b"glrt-", 20, LONG, is_base64url),
    Token::new(b"glptt-", 20, LONG, is_base64url),
    Token::new(b"glcbt-", 20, LONG, is_base64url),
    // Weir's own, for the prompt of SSH.
    Token::new(b"weir_st_", 43, LONG, is_base64url),
    // Slack.
    Token::new(b"xoxb-", 20, LONG, is_base64url),
    Token::new(b"xoxp-", 20, LONG, is_base64url),
    Token::new(b"xoxa-", 20, LONG, is_base64url),
    Token::new(b"xoxr-", 20, LONG, is_base64url),
    Token::new(b"xoxs-", 20, LONG, is_base64url),
    Token::new(b"xapp-", 20, LONG, is_base64url),
    // Stripe.
    Token::new(b"sk_live_", 20, LONG, is_alphanumeric),
    Token::new(b"rk_live_", 20, LONG, is_alphanumeric),
    Token::new(b"whsec_", 32, LONG, is_base64),
    // Google: API keys, clients' secrets.
    Token::new(b"AIza", 35, 35, is_base64url),
    Token::new(b"GOCSPX-", 24, LONG, is_base64url),
    // Makers of models.
    Token::new(b"sk-ant-", 32, LONG, is_base64url),
    Token::new(b"sk-proj-", 32, LONG, is_base64url),
    Token::new(b"sk-svcacct-", 32, LONG, is_base64url),
    Token::new(b"hf_", 34, LONG, is_alphanumeric),
    // Registries of packages and images.
    Token::new(b"npm_", 36, LONG, is_alphanumeric),
    Token::new(b"pypi-AgE", 50, LONGER, is_base64url),
    Token::new(b"rubygems_", 48, LONG, is_hex),
    Token::new(b"dckr_pat_", 27, LONG, is_base64url),
    // Clouds and tools.
    Token::new(b"dop_v1_", 64, LONG, is_hex),
    Token::new(b"doo_v1_", 64, LONG, is_hex),
    Token::new(b"shpat_", 32, LONG, is_hex),
    Token::new(b"shpss_", 32, LONG, is_hex),
    Token::new(b"glsa_", 32, LONG, is_word_ascii),
    Token::new(b"tskey-", 20, LONG, is_base64url),
    Token::new(b"AGE-SECRET-KEY-1", 58, LONG, is_upper),
];

/// By its first letter, which letters come second in what begins with it: one bit for each five that are
/// alike.
const SECOND: [u32; 256] = second();

const fn second() -> [u32; 256] {
    let mut out = [0; 256];
    let mut i = 0;
    // `for` is not for constants.
    #[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
    {
        while i < TOKENS.len() {
            let prefix = TOKENS[i].prefix;
            out[prefix[0] as usize] |= 1 << (prefix[1] & 31);
            i += 1;
        }
        i = 0;
        while i < ASSIGNMENTS.len() {
            out[ASSIGNMENTS[i][0] as usize] |= 1 << (ASSIGNMENTS[i][1] & 31);
            i += 1;
        }
        out[b'e' as usize] |= 1 << (b'y' & 31);
    }
    out
}

/// Does a token, a key or an assignment of one begin with these letters? Others may seem to.
pub fn may_begin(first: u8, second: u8) -> bool {
    let bits = SECOND.get(usize::from(first)).copied().unwrap_or(0);
    bits >> (second & 31) & 1 == 1
}

/// Names after which the secret half of a key pair stands.
pub const ASSIGNMENTS: &[&[u8]] = &[
    b"aws_secret_access_key",
    b"AWS_SECRET_ACCESS_KEY",
    b"SecretAccessKey",
    b"secretAccessKey",
];

/// How long that half is, and how much may stand before it.
pub const ASSIGNED: usize = 40;
pub const WIDEST_GAP: usize = 24;
/// May stand once in the gap: `"name": "AWS_SECRET_ACCESS_KEY", "value": "…"`.
pub const GAP_WORD: &[u8] = b"value";

/// Stands between a name and what is assigned to it, also in JSON that stands in JSON, and where the name is an index.
pub fn is_between(c: u8) -> bool {
    b" \t\"'=:>|,\\]".contains(&c)
}

pub fn is_base64(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'/' | b'+' | b'=')
}

pub fn cloud(value: &[u8], at: usize) -> Option<Found> {
    let rest = value.get(at..)?;
    for token in TOKENS {
        if !rest.starts_with(token.prefix) {
            continue;
        }
        let prefix = token.prefix.len();
        let len = run(rest, prefix, token.most + 1, token.alphabet);
        let end = prefix + len;
        let body = rest.get(prefix..end).unwrap_or_default();
        if (token.least..=token.most).contains(&len)
            && !is_word(byte(rest, end))
            && !(token.is_exact() && body.iter().all(|c| is_nucleotide(*c)))
        {
            return Some(Found {
                start: at,
                end: at + end,
                what: Detector::CloudKey,
            });
        }
    }
    let name = ASSIGNMENTS.iter().find(|name| rest.starts_with(name))?;
    let mut gap = run(rest, name.len(), WIDEST_GAP, is_between);
    let word = name.len() + gap..name.len() + gap + GAP_WORD.len();
    let is_word = |word: &[u8]| word.eq_ignore_ascii_case(GAP_WORD);
    let mut start = name.len() + gap;
    if gap > 0 && rest.get(word.clone()).is_some_and(is_word) {
        gap = run(rest, word.end, WIDEST_GAP - gap, is_between);
        start = word.end + gap;
    }
    let len = run(rest, start, ASSIGNED + 1, is_base64);
    (gap > 0 && len == ASSIGNED).then_some(Found {
        start: at + start,
        end: at + start + len,
        what: Detector::CloudKey,
    })
}

/// As sequences of DNA and RNA are written: `ACCA` begins one of every 256, a key of these letters alone there is none.
pub fn is_nucleotide(c: u8) -> bool {
    matches!(c, b'A' | b'C' | b'G' | b'T' | b'U' | b'N')
}

fn is_upper(c: u8) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

fn is_alphanumeric(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

fn is_hex(c: u8) -> bool {
    c.is_ascii_hexdigit()
}

fn is_word_ascii(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

#[cfg(test)]
mod tests {
    use super::super::{Detectors, possible};
    use super::*;

    #[test]
    fn whatever_is_looked_for_may_begin() {
        let keys = TOKENS.iter().map(|token| token.prefix);
        let cloud: Vec<&[u8]> = keys.chain(ASSIGNMENTS.iter().copied()).collect();
        for begins in cloud.iter().copied().chain([&b"eyJ"[..]]) {
            assert!(may_begin(begins[0], begins[1]), "{begins:?}");
        }
        for prefix in cloud {
            let on = Detectors::of(Detector::CloudKey);
            let text = [prefix, &[b'x'; 40]].concat();
            assert!(!possible(on, &text).is_empty(), "{prefix:?}");
        }
        for token in TOKENS {
            // What `possible` looks for.
            let whole = [token.prefix, &[b'1'; LONGER][..token.least]].concat();
            let run = |length, good: fn(u8) -> bool| {
                whole
                    .windows(length)
                    .any(|run| run.iter().all(|c| good(*c)))
            };
            let alphabet = (0..128).filter(|c| (token.alphabet)(*c));
            let url = alphabet.clone().all(is_base64url) && run(20, is_base64url);
            assert!(
                url || alphabet.clone().all(is_base64) && run(32, is_base64),
                "{token:?}"
            );
            assert!(token.least <= token.most, "{token:?}");
        }
    }

    /// Each form is found, alone and between other characters; one character less is not.
    #[test]
    fn every_token_is_found() {
        let on = Detectors::of(Detector::CloudKey);
        for token in TOKENS {
            let body: Vec<u8> = (b'0'..=b'z').filter(|c| (token.alphabet)(*c)).collect();
            let body = body.iter().filter(|c| c.is_ascii_alphanumeric());
            let body: Vec<u8> = body.copied().cycle().take(token.least).collect();
            let whole = [token.prefix, &body].concat();
            let find = |text: &[u8]| super::super::Findings::new(on, text).next();
            let found = find(&whole).map(|f| (f.start, f.end));
            assert_eq!(found, Some((0, whole.len())), "{token:?}");
            let between = [b"a \"", &whole[..], b"\"\n"].concat();
            let found = find(&between).map(|f| (f.start, f.end));
            assert_eq!(found, Some((3, 3 + whole.len())), "{token:?}");
            assert_eq!(find(&whole[..whole.len() - 1]), None, "{token:?}");
        }
        let finds = |text: &[u8]| super::super::finds(on, text);
        assert!(!finds(b"ACCAGATTACANNGATTACA\n"));
        assert!(finds(b"ACCAGATTACANNGATTAC7\n"));
    }
}
