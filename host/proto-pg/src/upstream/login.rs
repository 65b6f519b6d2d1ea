//! The way from an open socket to a logged-in upstream: TLS, startup packet, authentication by a
//! method that the target's list allows, and everything up to the first ReadyForQuery.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scram::{self, Binding, ScramError};
use super::{CancelKey, Upstream, UpstreamError};
use crate::config::{AuthMethod, Limits, PgTarget, Secret};
use crate::wire::backend::{self, Authentication};
use crate::wire::{HEADER, MessageError, encode, header, startup};

/// What direct TLS must agree on.
const ALPN: &[u8] = b"postgresql";
/// No message of a login is larger.
const MAX_LOGIN_MESSAGE: usize = 64 << 10;
/// Messages until the first ReadyForQuery: parameters, notices, authentication.
const MAX_LOGIN_MESSAGES: usize = 1_000;

/// A socket under login: the stream, what was read from it, and the certificate behind it.
pub(super) struct Socket {
    pub io: Box<dyn super::Stream>,
    pub buf: BytesMut,
    pub certificate: Option<Vec<u8>>,
}

/// Dials, with TLS as the target wants it.
pub(super) async fn dial(target: &PgTarget, limits: &Limits) -> Result<Socket, UpstreamError> {
    let timeout = limits.upstream_login_timeout;
    let options = net::SocketOptions::default();
    let mut tcp = net::connect(&target.host, target.port, timeout, &options).await?;
    let plain = |tcp| Socket {
        io: Box::new(tcp),
        buf: BytesMut::new(),
        certificate: None,
    };
    if !target.tls.is_wanted() {
        return Ok(plain(tcp));
    }
    if target.direct_tls {
        let socket = handshake(target, tcp, timeout).await?;
        // As libpq: without it, something else than PostgreSQL may be answering.
        return match socket {
            (socket, Some(protocol)) if protocol == ALPN => Ok(socket),
            _ => Err(UpstreamError::Alpn),
        };
    }
    let mut request = BytesMut::new();
    startup::ssl_request(&mut request);
    tcp.write_all(&request).await?;
    // One byte exactly: what follows belongs to the TLS handshake, or to an attacker.
    match tcp.read_u8().await? {
        b'S' => Ok(handshake(target, tcp, timeout).await?.0),
        b'N' if target.tls.is_required() => Err(UpstreamError::NoTls),
        b'N' => Ok(plain(tcp)),
        _ => Err(UpstreamError::Unexpected("answer to SSLRequest")),
    }
}

/// TLS over a socket; also the protocol that both sides agreed on, if they did.
async fn handshake(
    target: &PgTarget,
    tcp: TcpStream,
    timeout: Duration,
) -> Result<(Socket, Option<Vec<u8>>), UpstreamError> {
    let tls = target.tls.connect(&target.host, tcp, timeout).await?;
    let connection = tls.get_ref().1;
    let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
    let certificate = connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|leaf| leaf.as_ref().to_vec());
    let socket = Socket {
        io: Box::new(tls),
        buf: BytesMut::new(),
        certificate,
    };
    Ok((socket, protocol))
}

pub(super) async fn login(
    mut socket: Socket,
    target: &PgTarget,
    database: &str,
    parameters: &[(String, String)],
) -> Result<Upstream, UpstreamError> {
    let mut out = BytesMut::new();
    let fixed = [("user", target.user.as_str()), ("database", database)];
    let asked = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let version = match target.protocol_3_2 {
        true => startup::PROTOCOL_3_2,
        false => startup::PROTOCOL_3_0,
    };
    startup::startup(&mut out, version, fixed.into_iter().chain(asked));
    socket.io.write_all(&out).await?;

    authenticate(&mut socket, target).await?;

    let mut parameters = Vec::new();
    let mut key = None;
    for _ in 0..MAX_LOGIN_MESSAGES {
        let (tag, body) = socket.message().await?;
        match tag {
            b'S' => {
                let (name, value) = backend::parameter(&body)?;
                parameters.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
            }
            b'K' => {
                let (pid, secret) = backend::key_data(&body)?;
                key = Some(CancelKey {
                    pid,
                    secret: Bytes::copy_from_slice(secret),
                });
            }
            // Notices of the login concern the target's own user, not the client.
            b'N' => {}
            b'E' => return Err(refused(&body)),
            b'Z' => {
                backend::ready(&body)?;
                return Ok(Upstream::new(socket, parameters, key));
            }
            _ => return Err(UpstreamError::Unexpected("message during login")),
        }
    }
    Err(UpstreamError::Unexpected("number of messages during login"))
}

/// Until AuthenticationOk, which counts only when the target's list allows the way it came about.
async fn authenticate(socket: &mut Socket, target: &PgTarget) -> Result<(), UpstreamError> {
    let mut done = AuthMethod::None;
    for _ in 0..MAX_LOGIN_MESSAGES {
        let (tag, body) = socket.message().await?;
        match tag {
            b'R' => {}
            b'E' => return Err(refused(&body)),
            b'N' => continue,
            // An older server, or a pooler before one. We sent no options.
            b'v' if target.protocol_3_2 => {
                let (_, unknown) = backend::negotiated(&body)?;
                match unknown.as_slice() {
                    [] => continue,
                    _ => return Err(UpstreamError::Unexpected("protocol options")),
                }
            }
            _ => return Err(UpstreamError::Unexpected("message during authentication")),
        }
        match backend::authentication(&body)? {
            Authentication::Ok => return allowed(target, done),
            Authentication::Cleartext => {
                allowed(target, AuthMethod::Cleartext)?;
                done = AuthMethod::Cleartext;
                let mut answer = BytesMut::new();
                encode::cstr(&mut answer, password(target)?.as_bytes());
                socket.answer(&answer).await?;
            }
            Authentication::Md5(salt) => {
                allowed(target, AuthMethod::Md5)?;
                done = AuthMethod::Md5;
                let mut answer = BytesMut::new();
                let hash = md5_answer(&target.user, password(target)?, salt);
                encode::cstr(&mut answer, hash.as_bytes());
                socket.answer(&answer).await?;
            }
            Authentication::Sasl(mechanisms) => {
                allowed(target, AuthMethod::ScramSha256Plus)?;
                let plus = mechanisms.contains(&scram::SCRAM_PLUS);
                let plain = mechanisms.contains(&scram::SCRAM);
                let binding = binding(socket.certificate.as_deref(), plus);
                if !plain && !matches!(binding, Binding::EndPoint(_)) {
                    return Err(UpstreamError::Method(
                        "a SASL mechanism that is not SCRAM-SHA-256",
                    ));
                }
                done = match &binding {
                    Binding::EndPoint(_) => AuthMethod::ScramSha256Plus,
                    _ => AuthMethod::ScramSha256,
                };
                allowed(target, done)?;
                scram_exchange(socket, binding, secret(target)?).await?;
            }
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                return Err(UpstreamError::Unexpected("SASL message"));
            }
            Authentication::Other(_) => {
                return Err(UpstreamError::Method(
                    "Kerberos, GSSAPI, SSPI or an unknown method",
                ));
            }
        }
    }
    Err(UpstreamError::Unexpected(
        "number of messages during authentication",
    ))
}

fn allowed(target: &PgTarget, method: AuthMethod) -> Result<(), UpstreamError> {
    let list = &target.require_auth;
    let bound = method == AuthMethod::ScramSha256Plus && list.contains(&AuthMethod::ScramSha256);
    if bound || list.contains(&method) {
        Ok(())
    } else {
        Err(UpstreamError::Method(method.as_str()))
    }
}

fn password(target: &PgTarget) -> Result<&str, UpstreamError> {
    secret(target).map(Secret::expose)
}

fn secret(target: &PgTarget) -> Result<&Secret, UpstreamError> {
    target.password.as_ref().ok_or(UpstreamError::NoPassword)
}

fn binding(certificate: Option<&[u8]>, offered: bool) -> Binding {
    match certificate.and_then(scram::end_point) {
        None => Binding::Unsupported,
        Some(hash) if offered => Binding::EndPoint(hash),
        Some(_) => Binding::NotOffered,
    }
}

async fn scram_exchange(
    socket: &mut Socket,
    binding: Binding,
    password: &Secret,
) -> Result<(), UpstreamError> {
    use bytes::BufMut;
    let mechanism = binding.mechanism();
    let first = scram::First::new(binding)?;
    let message = first.message();
    let mut initial = BytesMut::new();
    encode::cstr(&mut initial, mechanism);
    initial.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    initial.put_slice(message.as_bytes());
    socket.answer(&initial).await?;

    let body = socket.sasl().await?;
    let Authentication::SaslContinue(server_first) = backend::authentication(&body)? else {
        return Err(UpstreamError::Unexpected("message during SCRAM"));
    };
    let (proof, last) = first.answer(server_first, password.expose(), &password.salted)?;
    socket.answer(proof.as_bytes()).await?;

    let body = socket.sasl().await?;
    let Authentication::SaslFinal(server_final) = backend::authentication(&body)? else {
        // AuthenticationOk without a signature is what an impostor would send.
        return Err(UpstreamError::Scram(ScramError::Signature));
    };
    last.verify(server_final)?;
    Ok(())
}

fn md5_answer(user: &str, password: &str, salt: [u8; 4]) -> String {
    let inner = hex::encode(
        Md5::new()
            .chain_update(password)
            .chain_update(user)
            .finalize(),
    );
    let outer = Md5::new().chain_update(inner).chain_update(salt).finalize();
    format!("md5{}", hex::encode(outer))
}

fn refused(body: &[u8]) -> UpstreamError {
    match backend::report(body) {
        Ok(report) => UpstreamError::Refused {
            sqlstate: report.sqlstate(),
            message: report
                .get(b'M')
                .map(|m| String::from_utf8_lossy(m).into_owned())
                .unwrap_or_default(),
        },
        Err(e) => e.into(),
    }
}

impl Socket {
    /// The next whole message. Not cancel safe in the sense that the login must be given up.
    pub(super) async fn message(&mut self) -> Result<(u8, Bytes), UpstreamError> {
        loop {
            if let Some(h) = header(&self.buf)? {
                if h.len > MAX_LOGIN_MESSAGE {
                    return Err(UpstreamError::Unexpected("message size during login"));
                }
                if self.buf.len() >= h.len {
                    let mut frame = self.buf.split_to(h.len).freeze();
                    frame.advance(HEADER);
                    return Ok((h.tag, frame));
                }
            }
            if self.io.read_buf(&mut self.buf).await? == 0 {
                return Err(UpstreamError::Closed);
            }
        }
    }

    async fn sasl(&mut self) -> Result<Bytes, UpstreamError> {
        match self.message().await? {
            (b'R', body) => Ok(body),
            (b'E', body) => Err(refused(&body)),
            _ => Err(MessageError::Value("message type during SCRAM").into()),
        }
    }

    async fn answer(&mut self, body: &[u8]) -> Result<(), UpstreamError> {
        let mut out = BytesMut::new();
        encode::password(&mut out, body);
        self.io.write_all(&out).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_as_the_server_computes_it() {
        // md5('md5-of-password-and-user' || salt), checked with psql: select md5(md5('secretweir') || 'salt')
        assert_eq!(
            md5_answer("weir", "secret", *b"salt"),
            format!("md5{}", {
                let inner = hex::encode(Md5::digest(b"secretweir"));
                hex::encode(Md5::digest(format!("{inner}salt").as_bytes()))
            })
        );
    }
}
