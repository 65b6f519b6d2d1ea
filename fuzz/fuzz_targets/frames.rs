//! Every reader of PostgreSQL frames and messages on arbitrary bytes: none may panic, and a frame
//! that is read must be written again byte for byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto_pg::wire;

fuzz_target!(|data: &[u8]| {
    wire::read_everything(data);
    // The same bytes as a stream of frames, as the relay cuts them.
    let mut rest = data;
    while let Ok(Some(h)) = wire::header(rest) {
        let Some((frame, tail)) = rest.split_at_checked(h.len) else {
            break;
        };
        wire::read_everything(frame);
        if frame.first() == Some(&b'B')
            && let Some(body) = frame.get(wire::HEADER..)
            && let Ok(b) = wire::frontend::bind(body)
        {
            let mut again = Vec::new();
            again.extend_from_slice(b.portal);
            again.push(0);
            again.extend_from_slice(b.statement);
            again.push(0);
            again.extend_from_slice(b.rest);
            assert_eq!(again, body);
        }
        rest = tail;
    }
});
