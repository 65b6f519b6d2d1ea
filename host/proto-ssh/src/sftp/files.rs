//! What the server's handles stand for, and what was transferred over them.

use std::collections::HashMap;

use crate::transfer::{Answer, Budget, Content, Direction, Effect, FileDone, Path, Track, Why};

/// One opening of a file; never used twice on a channel.
pub(super) type FileId = u64;

/// What was granted with a handle.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) path: Path,
    pub(super) directory: bool,
    pub(super) read: bool,
    pub(super) write: bool,
    /// The server puts what is written at the end.
    pub(super) append: bool,
    /// It is empty when it has been opened.
    pub(super) empty: bool,
}

struct File {
    spec: Spec,
    /// Of the request that opened it.
    ticket: u64,
    read: Option<Track>,
    written: Option<Track>,
    /// Reads, writes and the like that are not answered, or not to the end.
    pending: usize,
    closed: bool,
}

#[derive(Default)]
pub(super) struct Files {
    next: FileId,
    by_handle: HashMap<Box<[u8]>, FileId>,
    files: HashMap<FileId, File>,
    budget: Budget,
    /// Handles that were asked for.
    pub(super) opening: usize,
}

impl Files {
    /// Open, being opened, and closed but not settled.
    pub(super) fn count(&self) -> usize {
        self.files.len().saturating_add(self.opening)
    }

    /// The server has given a handle; false: it stands for another file already.
    pub(super) fn open(&mut self, handle: &[u8], ticket: u64, spec: Spec) -> bool {
        if self.by_handle.contains_key(handle) {
            return false;
        }
        let id = self.next;
        self.next += 1;
        self.by_handle.insert(handle.into(), id);
        let mut written = spec.write.then(|| Track::new(spec.empty));
        if let (Some(track), true) = (&mut written, spec.append) {
            track.spoil(Why::Appended, &mut self.budget);
        }
        let file = File {
            spec,
            ticket,
            read: None,
            written,
            pending: 0,
            closed: false,
        };
        self.files.insert(id, file);
        true
    }

    pub(super) fn find(&self, handle: &[u8]) -> Option<(FileId, &Spec)> {
        let id = *self.by_handle.get(handle)?;
        Some((id, &self.files.get(&id)?.spec))
    }

    /// The client has asked to close it: from now on the handle is not its any more.
    pub(super) fn closing(&mut self, handle: &[u8]) -> Option<FileId> {
        let id = self.by_handle.remove(handle)?;
        self.pending(id);
        Some(id)
    }

    fn pending(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(&id) {
            file.pending += 1;
        }
    }

    /// A request on it waits for its answer.
    pub(super) fn wait(&mut self, id: FileId) {
        self.pending(id);
    }

    pub(super) fn read_at(&mut self, id: FileId, offset: u64) {
        self.pending(id);
        if let Some(file) = self.files.get_mut(&id) {
            let track = file.read.get_or_insert_with(|| Track::new(false));
            track.begin(offset, &mut self.budget);
        }
    }

    pub(super) fn write_at(&mut self, id: FileId, offset: u64) {
        self.pending(id);
        if let Some(track) = self
            .files
            .get_mut(&id)
            .and_then(|file| file.written.as_mut())
        {
            track.begin(offset, &mut self.budget);
        }
    }

    pub(super) fn read(&mut self, id: FileId, offset: u64, bytes: &[u8]) {
        if let Some(track) = self.files.get_mut(&id).and_then(|file| file.read.as_mut()) {
            track.data(offset, bytes, &mut self.budget);
        }
    }

    pub(super) fn written(&mut self, id: FileId, offset: u64, bytes: &[u8]) {
        if let Some(track) = self
            .files
            .get_mut(&id)
            .and_then(|file| file.written.as_mut())
        {
            track.data(offset, bytes, &mut self.budget);
        }
    }

    /// A read from `offset` on found the end of the file.
    pub(super) fn ended_at(&mut self, id: FileId, offset: u64) {
        if let Some(track) = self.files.get_mut(&id).and_then(|file| file.read.as_mut()) {
            track.end(offset);
        }
    }

    pub(super) fn sized(&mut self, id: FileId, size: u64) {
        if let Some(track) = self
            .files
            .get_mut(&id)
            .and_then(|file| file.written.as_mut())
        {
            track.cut(size, &mut self.budget);
        }
    }

    pub(super) fn spoil_written(&mut self, id: FileId, why: Why) {
        if let Some(track) = self
            .files
            .get_mut(&id)
            .and_then(|file| file.written.as_mut())
        {
            track.spoil(why, &mut self.budget);
        }
    }

    /// A request on it is answered to the end.
    pub(super) fn settle(&mut self, id: FileId, out: &mut Vec<Effect>) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        file.pending = file.pending.saturating_sub(1);
        if file.closed && file.pending == 0 {
            self.finish(id, out);
        }
    }

    /// CLOSE is answered. The handle is gone whatever the answer is.
    pub(super) fn closed(&mut self, id: FileId, out: &mut Vec<Effect>) {
        if let Some(file) = self.files.get_mut(&id) {
            file.closed = true;
        }
        self.settle(id, out);
    }

    fn finish(&mut self, id: FileId, out: &mut Vec<Effect>) {
        let Some(file) = self.files.remove(&id) else {
            return;
        };
        let tracks = [
            (Direction::Read, file.read),
            (Direction::Write, file.written),
        ];
        // A handle for both that was only read has nothing to say about writing.
        let only_read = file.spec.read && !file.spec.empty;
        for (direction, track) in tracks {
            let Some(mut track) = track else {
                continue;
            };
            if direction == Direction::Write && only_read && !track.has_begun() {
                track.spoil(Why::Nothing, &mut self.budget);
                continue;
            }
            if file.pending > 0 {
                track.spoil(Why::Unfinished, &mut self.budget);
            }
            let (bytes, mut content) = track.finish(&mut self.budget);
            if let Content::Hashed { whole, .. } = &mut content {
                // Where the client went away, nobody knows what more was to come.
                *whole &= file.closed;
            }
            out.push(Effect::Done(FileDone {
                ticket: file.ticket,
                path: file.spec.path.clone(),
                direction,
                bytes,
                content,
            }));
        }
        out.push(Effect::Answered {
            ticket: file.ticket,
            result: match file.closed && file.pending == 0 {
                true => Answer::Done,
                false => Answer::Unknown,
            },
        });
    }

    /// The channel has ended.
    pub(super) fn end(&mut self, out: &mut Vec<Effect>) {
        self.by_handle.clear();
        let mut left: Vec<FileId> = self.files.keys().copied().collect();
        left.sort_unstable();
        for id in left {
            self.finish(id, out);
        }
    }
}
