//! A session that is watched, line by line.

use reqwest::Response;
use serde_json::Value;

use crate::client::{ClientError, MAX_ANSWER};

/// What a live session does, as it is recorded.
#[derive(Debug)]
pub struct Watching {
    call: String,
    response: Response,
    /// What has come of the next lines.
    bytes: Vec<u8>,
    /// So much of it is known to have no end of a line.
    looked: usize,
}

impl Watching {
    pub(crate) fn new(call: String, response: Response) -> Self {
        Self {
            call,
            response,
            bytes: Vec::new(),
            looked: 0,
        }
    }

    /// The next line but signs of life; none when nothing more comes. The last line of a watch that
    /// was ended by Weir says in `over` why; without it, the connection was lost.
    pub async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            let rest = self.bytes.get(self.looked..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let mut line = self.bytes.split_off(self.looked + end + 1);
                std::mem::swap(&mut line, &mut self.bytes);
                self.looked = 0;
                let line: Value =
                    serde_json::from_slice(&line).map_err(|source| ClientError::Answer {
                        call: self.call.clone(),
                        status: self.response.status(),
                        source,
                    })?;
                if line.get("kind").and_then(Value::as_str) == Some("alive") {
                    continue;
                }
                return Ok(Some(line));
            }
            self.looked = self.bytes.len();
            let chunk = self.response.chunk().await;
            let Some(chunk) = chunk.map_err(ClientError::Transport)? else {
                return Ok(None);
            };
            if self.bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(ClientError::TooLong);
            }
            self.bytes.extend_from_slice(&chunk);
        }
    }
}
