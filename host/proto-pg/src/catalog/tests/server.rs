//! A real PostgreSQL for tests, and the smallest client that shows what the wire holds.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::analysis::Field;
use crate::catalog::{Rows, SessionState, Snapshot};

/// Stopped and removed when dropped.
pub(crate) struct Server {
    dir: PathBuf,
    bin: PathBuf,
}

/// One result of a simple query.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub fields: Vec<Field>,
    /// Bodies of DataRow messages.
    pub rows: Vec<Vec<u8>>,
    /// Bodies of CopyData messages.
    pub copied: Vec<Vec<u8>>,
    pub error: Option<String>,
    pub notices: Vec<String>,
}

impl Server {
    pub fn start(name: &str) -> Self {
        let bin = newest();
        let dir = std::env::temp_dir().join(format!("weir-pg-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        crate::testing::reaper::ends_with_us(&dir);
        let server = Self { dir, bin };
        if root() {
            run(Command::new("chown").arg("postgres").arg(&server.dir));
        }
        let data = server.dir.join("data");
        run(server.tool("initdb").arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
        ]));
        let options = format!(
            "-c listen_addresses='' -c fsync=off -k {}",
            server.dir.display()
        );
        run(server
            .tool("pg_ctl")
            .arg("-D")
            .arg(&data)
            .args(["-w", "-o", &options, "-l"])
            .arg(server.dir.join("log"))
            .arg("start"));
        server
    }

    fn tool(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        if root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        }
    }

    pub fn connect(&self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(self.dir.join(".s.PGSQL.5432")) {
                Ok(stream) => break stream,
                Err(e) => assert!(Instant::now() < deadline, "{e}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut client = Client { stream };
        let mut body = 196_608u32.to_be_bytes().to_vec();
        body.extend(b"user\0postgres\0database\0postgres\0\0");
        let length = (body.len() as u32 + 4).to_be_bytes();
        client
            .stream
            .write_all(&[&length[..], &body].concat())
            .unwrap();
        client.replies();
        client
    }
}

impl Server {
    /// Every text that a program of PostgreSQL's sends, from the server's log; the sessions have to
    /// log their statements.
    pub fn texts_of(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        run(self
            .tool(program)
            .args(["-h", &self.dir.display().to_string(), "-U", "postgres"])
            .args(arguments));
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap();
        let mut texts: Vec<String> = Vec::new();
        let mut inside = false;
        for line in log.lines() {
            if let Some((_, text)) = line.split_once("LOG:  statement: ") {
                texts.push(text.to_owned());
                inside = true;
            } else if let Some(more) = line.strip_prefix('\t').filter(|_| inside) {
                let last = texts.last_mut().unwrap();
                last.push('\n');
                last.push_str(more);
            } else {
                inside = false;
            }
        }
        texts
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.dir.join("data");
        let mut stop = self.tool("pg_ctl");
        stop.arg("-D").arg(data).args(["-m", "immediate", "stop"]);
        stop.stdout(Stdio::null()).status().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

fn newest() -> PathBuf {
    let dirs = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's server is installed");
    let bins = dirs
        .map(|d| d.unwrap().path().join("bin"))
        .filter(|p| p.join("initdb").exists());
    bins.max().expect("PostgreSQL's server is installed")
}

fn root() -> bool {
    let me = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    me.lines().any(|l| l.starts_with("Uid:\t0\t"))
}

fn run(command: &mut Command) {
    let status = command
        .stdout(Stdio::null())
        .current_dir(Path::new("/"))
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}");
}

pub(crate) struct Client {
    stream: UnixStream,
}

impl Client {
    pub fn query(&mut self, sql: &str) -> Vec<Reply> {
        let length = (sql.len() as u32 + 5).to_be_bytes();
        let frame = [b"Q", &length[..], sql.as_bytes(), b"\0"].concat();
        self.stream.write_all(&frame).unwrap();
        self.replies()
    }

    /// Must succeed.
    pub fn run(&mut self, sql: &str) -> Vec<Reply> {
        let replies = self.query(sql);
        for reply in &replies {
            assert_eq!(reply.error, None, "{sql}");
        }
        replies
    }

    fn message(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    /// Until ReadyForQuery.
    fn replies(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut current = Reply::default();
        loop {
            let (tag, body) = self.message();
            match tag {
                b'T' => current.fields = fields(&body),
                b'D' => current.rows.push(body),
                b'd' => current.copied.push(body),
                b'C' | b'I' => replies.push(std::mem::take(&mut current)),
                b'N' => {
                    let text = String::from_utf8_lossy(&body).replace('\0', " ");
                    current.notices.push(text);
                }
                b'E' => {
                    current.error = Some(String::from_utf8_lossy(&body).replace('\0', " "));
                    replies.push(std::mem::take(&mut current));
                }
                b'Z' => return replies,
                _ => {}
            }
        }
    }

    pub fn rows(&mut self, sql: &str) -> Rows {
        let reply = self.run(sql).pop().unwrap();
        reply.rows.iter().map(|row| texts(row)).collect()
    }

    pub fn snapshot(&mut self) -> Snapshot {
        let results: Vec<Rows> = Snapshot::QUERIES.iter().map(|q| self.rows(q)).collect();
        Snapshot::build(&results).unwrap()
    }

    pub fn state(&mut self) -> SessionState {
        SessionState::new(&self.rows(SessionState::QUERY)[0]).unwrap()
    }
}

/// The values of one DataRow's body.
pub(crate) fn texts(body: &[u8]) -> Vec<Option<String>> {
    let count = u16::from_be_bytes(body[..2].try_into().unwrap());
    let mut at = 2;
    (0..count)
        .map(|_| {
            let length = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            at += 4;
            (length >= 0).then(|| {
                let value = &body[at..at + length as usize];
                at += length as usize;
                String::from_utf8_lossy(value).into_owned()
            })
        })
        .collect()
}

fn fields(body: &[u8]) -> Vec<Field> {
    let count = u16::from_be_bytes(body[..2].try_into().unwrap());
    let mut at = 2;
    (0..count)
        .map(|_| {
            let end = at + body[at..].iter().position(|c| *c == 0).unwrap();
            let name = String::from_utf8_lossy(&body[at..end]).into_owned();
            at = end + 1;
            let two = |i: usize| i16::from_be_bytes(body[at + i..at + i + 2].try_into().unwrap());
            let four = |i: usize| u32::from_be_bytes(body[at + i..at + i + 4].try_into().unwrap());
            let field = Field {
                name,
                table_oid: four(0),
                attnum: two(4),
                type_oid: four(6),
                type_len: two(10),
                type_mod: four(12) as i32,
                format: two(16),
            };
            at += 18;
            field
        })
        .collect()
}
