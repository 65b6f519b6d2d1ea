//! Witnesses: others that see every checkpoint of the registry and sign that it goes on from what they
//! saw before (C2SP tlog-witness, the client's side).

use std::time::Duration;

use tlog::witness::{ADD_CHECKPOINT, Answer, MAX_ANSWER, Request, WitnessError, read_answer};
use tlog::{
    Checkpoint, CosignatureVerifier, Note, ProofError, Signature, TileMap, Verifier,
    consistency_proof, consistency_tiles, root_from_tiles, root_tiles,
};

use crate::objects::{Objects, StoreError};

/// One question to a witness, with its answer.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// The second one says how far the witness is.
const ATTEMPTS: usize = 2;

/// A witness that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessOptions {
    /// What its paths begin with, without a slash at the end.
    pub url: String,
    pub key: WitnessKey,
}

/// A witness's key for cosignatures, as `name+hash+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey(CosignatureVerifier);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a key of a witness: give name+hash+key, for Ed25519 cosignatures (C2SP \
     tlog-cosignature)"
)]
pub struct WitnessKeyError(String);

impl std::str::FromStr for WitnessKey {
    type Err = WitnessKeyError;

    fn from_str(text: &str) -> Result<Self, WitnessKeyError> {
        let key = CosignatureVerifier::parse(text);
        key.map(Self).map_err(|_| WitnessKeyError(text.to_owned()))
    }
}

impl WitnessKey {
    pub fn name(&self) -> &str {
        self.0.name()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WitnessFailure {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Answer(#[from] WitnessError),
    #[error("it answered {0}")]
    Refused(String),
    #[error("the proof for it cannot be made: {0}")]
    Proof(#[from] ProofError),
    #[error("nothing within {0:?}")]
    Slow(Duration),
    #[error("the tiles for its proof cannot be read: {0}")]
    Tiles(#[from] StoreError),
    /// Waiting does not help, and somebody should know.
    #[error("it has seen {0}")]
    Fork(String),
}

/// A signed checkpoint of a log whose tiles are stored.
pub struct Published<'a> {
    pub objects: &'a Objects,
    /// What the tiles' keys begin with.
    pub prefix: &'a str,
    pub note: &'a Note,
    pub checkpoint: &'a Checkpoint,
}

impl Published<'_> {
    /// A partial tile may have gone for the full one, which begins with it.
    async fn tiles(&self, wanted: Vec<tlog::Tile>) -> Result<TileMap, StoreError> {
        let mut found = TileMap::new();
        for tile in wanted {
            for path in [tile.path(), tile.full().path()] {
                let key = format!("{}/{path}", self.prefix);
                if let Some(bytes) = self.objects.find(&key).await? {
                    found.insert(tile, bytes.to_vec());
                    break;
                }
            }
        }
        Ok(found)
    }

    /// That the log goes on from its tree of size `old`.
    async fn proof(&self, old: u64) -> Result<Vec<tlog::Hash>, WitnessFailure> {
        let Checkpoint { size, root, .. } = self.checkpoint;
        if old == 0 || old == *size {
            return Ok(Vec::new());
        }
        let before = self.tiles(root_tiles(old)?).await?;
        let old_root = root_from_tiles(old, &before)?;
        let tiles = self.tiles(consistency_tiles(old, *size)?).await?;
        Ok(consistency_proof(old, &old_root, *size, root, &tiles)?)
    }
}

/// One witness, and how far it is.
pub struct Witness {
    options: WitnessOptions,
    /// The size of the last tree that it signed and whose signature we have.
    pub old: u64,
}

impl Witness {
    pub fn new(options: WitnessOptions, old: u64) -> Self {
        Self { options, old }
    }

    pub fn name(&self) -> &str {
        self.options.key.name()
    }

    /// Asks it to sign.
    pub async fn ask(
        &self,
        http: &reqwest::Client,
        log: &Published<'_>,
    ) -> Result<Vec<Signature>, WitnessFailure> {
        let limit = TIMEOUT.saturating_mul(4);
        match tokio::time::timeout(limit, self.sign(http, log)).await {
            Ok(answer) => answer,
            Err(_) => Err(WitnessFailure::Slow(limit)),
        }
    }

    async fn sign(
        &self,
        http: &reqwest::Client,
        log: &Published<'_>,
    ) -> Result<Vec<Signature>, WitnessFailure> {
        let size = log.checkpoint.size;
        // What is remembered can be of another tree; 0 needs no proof, and the answer says what is.
        let mut old = if self.old > size { 0 } else { self.old };
        for _ in 0..ATTEMPTS {
            let request = Request {
                old,
                proof: log.proof(old).await?,
                checkpoint: log.note.encode(),
            };
            match self.post(http, log.note, request.encode()?).await? {
                Answer::Cosigned(signatures) => return Ok(signatures),
                Answer::Size(seen) if seen > size => {
                    return Err(WitnessFailure::Fork(format!(
                        "{seen} leaves of the registry, which has {size}: this spool is an old copy, or \
                         somebody else has its key"
                    )));
                }
                Answer::Size(seen) => old = seen,
                Answer::Conflict => {
                    return Err(WitnessFailure::Fork(format!(
                        "another tree of {size} leaves with the registry's signature"
                    )));
                }
                Answer::WrongProof => {
                    return Err(WitnessFailure::Fork(
                        "a tree that the registry does not go on from".into(),
                    ));
                }
                Answer::UnknownLog => {
                    return Err(WitnessFailure::Refused(
                        "that it does not know this registry: give its operator the registry's key"
                            .into(),
                    ));
                }
                Answer::NotSigned => {
                    return Err(WitnessFailure::Refused(
                        "that it knows another key of this registry".into(),
                    ));
                }
                Answer::Refused(status) => {
                    return Err(WitnessFailure::Refused(format!("HTTP status {status}")));
                }
            }
        }
        Err(WitnessFailure::Refused(
            "every time with another size than before".into(),
        ))
    }

    async fn post(
        &self,
        http: &reqwest::Client,
        note: &Note,
        body: String,
    ) -> Result<Answer, WitnessFailure> {
        let url = format!("{}/{ADD_CHECKPOINT}", self.options.url);
        let mut response = http.post(url).body(body).timeout(TIMEOUT).send().await?;
        let status = response.status().as_u16();
        let media = response.headers().get(reqwest::header::CONTENT_TYPE);
        let media = media
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await? {
            answer.extend_from_slice(&part);
            if answer.len() > MAX_ANSWER {
                return Err(WitnessError::TooLong(answer.len()).into());
            }
        }
        let key: &dyn Verifier = &self.options.key.0;
        Ok(read_answer(
            status,
            media.as_deref(),
            &answer,
            note,
            &[key],
        )?)
    }
}

/// What asks them: it follows no one elsewhere.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(TIMEOUT)
        .build()
}
