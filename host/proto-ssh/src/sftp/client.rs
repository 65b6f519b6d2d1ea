//! The client's direction: of each request, whether it passes, is to be decided, or is refused at once.

use bytes::{Bytes, BytesMut};

use super::cut::{Gather, What};
use super::error::{SftpError, Wrong};
use super::files::Spec;
use super::packet::{self as p, Asking, Extension};
use super::{
    Expect, FILES_MAX, IN_FLIGHT_MAX, LINKS_MAX, Live, Phase, Place, Sftp, Stage, Writing,
};
use crate::transfer::{
    Asked, Attributes, Effect, Kind, PATH_MAX, Path, Request, Touch, Way, doubts, printable,
};
use crate::wire::Reader;

/// Of the name of an unknown extension, so much is told.
const NAME_MAX: usize = 256;

/// What becomes of a request.
enum Plan {
    Pass(Expect),
    Ask(Question, Expect),
    /// The status and the reason that the client is told.
    Refuse(u32, &'static str),
}

/// The part of a [`Request`] that its packet says.
struct Question {
    kind: Kind,
    paths: Vec<Asked>,
    attributes: Attributes,
    opaque: Vec<&'static str>,
}

/// What becomes of a piece that does not simply pass.
enum Step {
    /// These bytes go in its place.
    Instead(Bytes),
    Ask(u64, Question),
    Refuse(u32, u32, &'static str),
    Drop,
}

const TOO_MANY: Plan = Plan::Refuse(
    p::FX_FAILURE,
    "weir: too many files are open on this channel",
);
const NO_HANDLE: Plan = Plan::Refuse(p::FX_FAILURE, "weir: no such handle is open");
const WRONG_HANDLE: Plan = Plan::Refuse(
    p::FX_PERMISSION_DENIED,
    "weir: the handle was not opened for that",
);
const NUL: Plan = Plan::Refuse(p::FX_FAILURE, "weir: a path holds a NUL byte");
const LONG: Plan = Plan::Refuse(p::FX_FAILURE, "weir: a path is longer than 4096 bytes");
const LINKS: Plan = Plan::Refuse(
    p::FX_FAILURE,
    "weir: too many symbolic links were made on this channel; open another one",
);

impl Sftp {
    /// Bytes of the client's.
    pub fn client(&mut self, mut chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), SftpError> {
        let mut gather = Gather::new(&chunk);
        loop {
            let part = self.from_client.next(&mut chunk, p::client_need);
            let Some(part) = part.map_err(SftpError::Client)? else {
                break;
            };
            let changed = match part.what {
                What::Head(_) => self.request(&part.bytes).map_err(SftpError::Client)?,
                What::Body(_) => self.contents(&part.bytes),
            };
            let mut to_server = |bytes| out.push(Effect::ToServer(bytes));
            match changed {
                None => gather.pass(&part, &chunk, &mut to_server),
                Some(step) => {
                    gather.skip(&chunk, &mut to_server);
                    self.step(step, part.bytes, out);
                }
            }
        }
        gather.flush(&mut |bytes| out.push(Effect::ToServer(bytes)));
        Ok(())
    }

    /// What is done with a piece that does not simply pass.
    fn step(&mut self, step: Step, bytes: Bytes, out: &mut Vec<Effect>) {
        match step {
            Step::Instead(other) => out.push(Effect::ToServer(other)),
            Step::Ask(ticket, question) => out.push(Effect::Ask(Request {
                ticket,
                way: Way::ToServer,
                kind: question.kind,
                paths: question.paths,
                attributes: question.attributes,
                opaque: question.opaque.into_iter().map(Into::into).collect(),
                raw: bytes,
            })),
            Step::Refuse(id, code, reason) => {
                out.push(Effect::DropClient(bytes.len()));
                self.refuse(id, code, reason, out);
            }
            Step::Drop => out.push(Effect::DropClient(bytes.len())),
        }
    }

    /// Contents of a file behind the head of a WRITE.
    fn contents(&mut self, bytes: &[u8]) -> Option<Step> {
        match &mut self.writing {
            Writing::To(place) => {
                self.files.written(place.file, place.offset, bytes);
                place.offset = place.offset.saturating_add(bytes.len() as u64);
                None
            }
            Writing::Nothing | Writing::Dropped => Some(Step::Drop),
        }
    }

    /// The head of a packet: the whole of it, but for the contents of a WRITE. None: it passes.
    fn request(&mut self, packet: &Bytes) -> Result<Option<Step>, Wrong> {
        let mut r = Reader::new(packet);
        let mut head = || Ok((r.u32()?, r.u8()?, r.u32()?));
        let (_, kind, id) = head().map_err(|error| Wrong::Layout { kind: 0, error })?;
        match (self.phase, kind) {
            (Phase::Start, p::INIT) => return self.init(packet, id),
            (Phase::Start, other) => return Err(Wrong::Type(other)),
            (Phase::Asked | Phase::Ready, _) => {}
        }
        let asking = p::asking(kind, r)?;
        if self.live.contains_key(&id) {
            return Err(Wrong::IdAgain(id));
        }
        if self.live.len() >= IN_FLIGHT_MAX {
            return Err(Wrong::InFlight(IN_FLIGHT_MAX));
        }
        self.writing = Writing::Dropped;
        let (step, expect, stage, ticket) = match self.plan(kind, asking) {
            Plan::Pass(expect) => {
                if let (p::WRITE, Some(place)) = (kind, self.write_place(asking)) {
                    self.writing = Writing::To(place);
                }
                (None, expect, Stage::Sent, None)
            }
            Plan::Ask(question, expect) => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, id);
                let step = Step::Ask(ticket, question);
                (Some(step), expect, Stage::Asked(packet.len()), Some(ticket))
            }
            Plan::Refuse(code, reason) => {
                let step = Step::Refuse(id, code, reason);
                (Some(step), Expect::Status, Stage::Refused, None)
            }
        };
        self.begin(&expect);
        let live = Live {
            expect,
            stage,
            ticket,
        };
        self.live.insert(id, live);
        Ok(step)
    }

    /// Of a later version the packets could not be read, so the client is said to know no later one than 3.
    fn init(&mut self, packet: &[u8], version: u32) -> Result<Option<Step>, Wrong> {
        if version < p::VERSION_3 {
            return Err(Wrong::Version(version));
        }
        self.phase = Phase::Asked;
        if version == p::VERSION_3 {
            return Ok(None);
        }
        let mut other = BytesMut::from(packet);
        if let Some(at) = other.get_mut(p::VERSION_AT..p::VERSION_AT + 4) {
            at.copy_from_slice(&p::VERSION_3.to_be_bytes());
        }
        Ok(Some(Step::Instead(other.freeze())))
    }

    fn write_place(&self, asking: Asking<'_>) -> Option<Place> {
        let Asking::Write { handle, offset, .. } = asking else {
            return None;
        };
        let (file, _) = self.files.find(handle)?;
        Some(Place { file, offset })
    }

    /// A request with this answer is under way.
    fn begin(&mut self, expect: &Expect) {
        match expect {
            Expect::Handle(_) => self.files.opening += 1,
            Expect::Data { place, .. } => self.files.read_at(place.file, place.offset),
            Expect::Written(file) => {
                let offset = match self.writing {
                    Writing::To(place) => place.offset,
                    Writing::Nothing | Writing::Dropped => 0,
                };
                self.files.write_at(*file, offset);
            }
            Expect::Sized(file, _) | Expect::Copied(file) => self.files.wait(*file),
            Expect::Closed(_)
            | Expect::Status
            | Expect::Attributes
            | Expect::Names
            | Expect::Here
            | Expect::Extended
            | Expect::Anything => {}
        }
    }

    fn plan(&mut self, kind: u8, asking: Asking<'_>) -> Plan {
        match asking {
            Asking::Open {
                path,
                flags,
                attributes,
            } => self.plan_open(path, flags, attributes),
            Asking::Handle(handle) => self.plan_handle(kind, handle),
            Asking::Read {
                handle,
                offset,
                len,
            } => match self.files.find(handle) {
                None => NO_HANDLE,
                Some((file, spec)) if spec.read => Plan::Pass(Expect::Data {
                    place: Place { file, offset },
                    len,
                }),
                Some(_) => WRONG_HANDLE,
            },
            Asking::Write { handle, .. } => match self.files.find(handle) {
                None => NO_HANDLE,
                Some((file, spec)) if spec.write => Plan::Pass(Expect::Written(file)),
                Some(_) => WRONG_HANDLE,
            },
            Asking::Path(path) => self.plan_path(kind, path),
            Asking::PathWith(path, attributes) => {
                let kind = match kind {
                    p::MKDIR => Kind::MakeDirectory,
                    _ => Kind::SetAttributes,
                };
                self.ask(kind, &[(path, Touch::Write)], attributes, Expect::Status)
            }
            Asking::HandleWith(handle, attributes) => self.plan_fsetstat(handle, attributes),
            Asking::Two(a, b) => {
                let kind = match kind {
                    p::SYMLINK => Kind::SymbolicLink,
                    _ => Kind::Rename,
                };
                self.ask_two(kind, a, b)
            }
            Asking::Extended(name, extension) => self.plan_extended(name, extension),
        }
    }

    fn plan_open(&mut self, path: &[u8], flags: u32, attributes: Attributes) -> Plan {
        if self.files.count() >= FILES_MAX {
            return TOO_MANY;
        }
        let write = flags & p::FXF_WRITE != 0;
        // Without any of the two, servers open for reading, and cut the file if that is asked for.
        let read = flags & p::FXF_READ != 0 || !write;
        let new = p::FXF_CREAT | p::FXF_EXCL;
        let mut touches = Vec::new();
        if read {
            touches.push((path, Touch::Read));
        }
        if flags & !p::FXF_READ != 0 {
            touches.push((path, Touch::Write));
        }
        let spec = Spec {
            path: self.path(path),
            directory: false,
            read,
            write,
            append: flags & p::FXF_APPEND != 0,
            empty: flags & p::FXF_TRUNC != 0 || flags & new == new,
        };
        let mut plan = self.ask(Kind::Open, &touches, attributes, Expect::Handle(spec));
        if let Plan::Ask(question, _) = &mut plan
            && flags & !p::FXF_ALL != 0
        {
            question.opaque.push("flags of OPEN that are not known");
        }
        plan
    }

    fn plan_handle(&mut self, kind: u8, handle: &[u8]) -> Plan {
        let Some((_, spec)) = self.files.find(handle) else {
            return NO_HANDLE;
        };
        match kind {
            p::CLOSE => match self.files.closing(handle) {
                Some(file) => Plan::Pass(Expect::Closed(file)),
                None => NO_HANDLE,
            },
            p::READDIR if !spec.directory => WRONG_HANDLE,
            p::READDIR => Plan::Pass(Expect::Names),
            _ => Plan::Pass(Expect::Attributes),
        }
    }

    fn plan_path(&mut self, kind: u8, path: &[u8]) -> Plan {
        let list = Touch::List;
        let (kind, touch, expect) = match kind {
            p::REALPATH if matches!(path, b"." | b"") => return Plan::Pass(Expect::Here),
            p::REALPATH => (Kind::RealPath, list, Expect::Names),
            p::READLINK => (Kind::ReadLink, list, Expect::Names),
            p::REMOVE => (Kind::Remove, Touch::Write, Expect::Status),
            p::RMDIR => (Kind::RemoveDirectory, Touch::Write, Expect::Status),
            p::OPENDIR if self.files.count() >= FILES_MAX => return TOO_MANY,
            p::OPENDIR => {
                let spec = Spec {
                    path: self.path(path),
                    directory: true,
                    read: false,
                    write: false,
                    append: false,
                    empty: false,
                };
                (Kind::ListDirectory, list, Expect::Handle(spec))
            }
            p::LSTAT => (Kind::StatLink, list, Expect::Attributes),
            _ => (Kind::Stat, list, Expect::Attributes),
        };
        self.ask(kind, &[(path, touch)], Attributes::default(), expect)
    }

    /// Whoever may write a file may cut it and set its times and mode. Whose rights it runs with is another matter.
    fn plan_fsetstat(&mut self, handle: &[u8], attributes: Attributes) -> Plan {
        let Some((file, spec)) = self.files.find(handle) else {
            return NO_HANDLE;
        };
        let expect = match attributes.size {
            Some(size) => Expect::Sized(file, size),
            None => Expect::Status,
        };
        if spec.write && !attributes.is_special() && !attributes.extended {
            return Plan::Pass(expect);
        }
        let paths = vec![(spec.path.clone(), Touch::Write)];
        question(Kind::SetAttributes, paths, attributes, expect)
    }

    fn plan_extended(&mut self, name: &[u8], extension: Extension<'_>) -> Plan {
        let none = Attributes::default();
        match extension {
            Extension::Rename(a, b) => self.ask_two(Kind::Rename, a, b),
            Extension::HardLink(a, b) => self.ask_two(Kind::HardLink, a, b),
            Extension::StatVfs(path) => self.ask(
                Kind::FileSystem,
                &[(path, Touch::List)],
                none,
                Expect::Extended,
            ),
            Extension::FstatVfs(handle) => match self.files.find(handle) {
                Some(_) => Plan::Pass(Expect::Extended),
                None => NO_HANDLE,
            },
            Extension::Fsync(handle) => match self.files.find(handle) {
                Some((_, spec)) if spec.write => Plan::Pass(Expect::Status),
                Some(_) => WRONG_HANDLE,
                None => NO_HANDLE,
            },
            Extension::SetAttributes(path, attributes) => self.ask(
                Kind::SetAttributes,
                &[(path, Touch::Write)],
                attributes,
                Expect::Status,
            ),
            Extension::Limits => Plan::Pass(Expect::Extended),
            Extension::ExpandPath(path) => {
                let plan = self.ask(Kind::RealPath, &[(path, Touch::List)], none, Expect::Names);
                tilde(plan, path.first() == Some(&b'~'))
            }
            Extension::Home(user) => {
                let path = [b"~", user].concat();
                let plan = self.ask(Kind::Home, &[(&path, Touch::List)], none, Expect::Names);
                tilde(plan, true)
            }
            Extension::AccountNames => {
                let files: [(&[u8], Touch); 2] =
                    [(b"/etc/passwd", Touch::List), (b"/etc/group", Touch::List)];
                self.ask(Kind::AccountNames, &files, none, Expect::Extended)
            }
            Extension::Copy { from, to } => self.plan_copy(from, to),
            Extension::Unknown => {
                let name = printable(name.get(..NAME_MAX).unwrap_or(name));
                let kind = Kind::Unknown(name.into());
                let mut plan = question(kind, Vec::new(), none, Expect::Anything);
                if let Plan::Ask(question, _) = &mut plan {
                    question
                        .opaque
                        .push("an extension of sftp that is not known");
                }
                plan
            }
        }
    }

    fn plan_copy(&mut self, from: &[u8], to: &[u8]) -> Plan {
        match (self.files.find(from), self.files.find(to)) {
            (Some((_, from)), Some((file, to))) if from.read && to.write => {
                let paths = vec![
                    (from.path.clone(), Touch::Read),
                    (to.path.clone(), Touch::Write),
                ];
                question(
                    Kind::Copy,
                    paths,
                    Attributes::default(),
                    Expect::Copied(file),
                )
            }
            (Some(_), Some(_)) => WRONG_HANDLE,
            _ => NO_HANDLE,
        }
    }

    /// Of two paths, both are written: the one that goes, and the one that comes. What a symbolic link leads to
    /// counts as written, since servers do not agree which of the two it is. What can be read under the other name
    /// afterwards counts as read as well: for a link, both.
    fn ask_two(&mut self, kind: Kind, a: &[u8], b: &[u8]) -> Plan {
        let link = kind == Kind::SymbolicLink;
        let (w, r) = (Touch::Write, Touch::Read);
        let paths = [(a, w), (b, w), (a, r), (b, r)];
        let paths = paths.get(..if link { 4 } else { 3 }).unwrap_or(&paths);
        let mut plan = self.ask(kind, paths, Attributes::default(), Expect::Status);
        let Plan::Ask(question, _) = &mut plan else {
            return plan;
        };
        let [from, to, read, ..] = &mut question.paths[..] else {
            return plan;
        };
        if !link {
            if !self.links.room_for(&from.path) {
                return LINKS;
            }
            self.links.moved(&from.path, &to.path);
            return plan;
        }
        if self.links.len() + 2 > LINKS_MAX {
            return LINKS;
        }
        // Remembered at once: what follows can be read before this is decided.
        self.links.add(&to.path);
        if !self.link_is_second {
            self.links.add(&from.path);
        }
        if a.first() != Some(&b'/') {
            // It begins where the link is, so it is shown as it was sent.
            from.path = Path::resolve(a, None);
            read.path = from.path.clone();
        }
        if [a, b].iter().any(|path| path.first() != Some(&b'/')) {
            question.opaque.push("a symbolic link with a relative path");
        }
        plan
    }

    fn ask(
        &self,
        kind: Kind,
        paths: &[(&[u8], Touch)],
        attributes: Attributes,
        expect: Expect,
    ) -> Plan {
        if paths.iter().any(|(path, _)| path.contains(&0)) {
            return NUL;
        }
        if paths.iter().any(|(path, _)| path.len() > PATH_MAX) {
            return LONG;
        }
        let paths = paths.iter().map(|(path, touch)| (self.path(path), *touch));
        let paths: Vec<_> = paths.collect();
        let link = |(path, _): &(Path, Touch)| self.links.lead(path, follows(&kind));
        let link = paths.iter().any(link);
        let mut plan = question(kind, paths, attributes, expect);
        if let (Plan::Ask(question, _), true) = (&mut plan, link) {
            question
                .opaque
                .push("a path through a symbolic link that was made on this channel");
        }
        plan
    }
}

fn question(kind: Kind, paths: Vec<(Path, Touch)>, attributes: Attributes, expect: Expect) -> Plan {
    let paths = paths.into_iter().map(|(path, touch)| Asked { path, touch });
    let paths: Vec<_> = paths.collect();
    let question = Question {
        kind,
        opaque: doubts(&paths, &attributes),
        paths,
        attributes,
    };
    Plan::Ask(question, expect)
}

/// Where a path ends at a symbolic link, this is about what that leads to.
fn follows(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::StatLink
            | Kind::ReadLink
            | Kind::Remove
            | Kind::RemoveDirectory
            | Kind::Rename
            | Kind::SymbolicLink
            | Kind::HardLink
    )
}

/// `~` is the server's to expand: the path that was made of it is none.
fn tilde(mut plan: Plan, expands: bool) -> Plan {
    if let (Plan::Ask(question, _), true) = (&mut plan, expands) {
        for asked in &mut question.paths {
            asked.path.known = false;
        }
        question.opaque.push("a path that begins with ~");
    }
    plan
}
