//! What the kernel asks of a disk.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

use crate::Disk;
use crate::file::PAGE;
use crate::state::{State, now};
use crate::tree::Number;

/// Nobody but the kernel changes anything while it is mounted.
const FOR_GOOD: Duration = Duration::from_secs(86_400);
const ONCE: Generation = Generation(0);
const NO_HANDLE: FileHandle = FileHandle(0);

pub(crate) fn mount(disk: Disk, at: &Path) -> io::Result<fuser::BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("faultfs".into())];
    fuser::spawn_mount(disk, at, &config)
}

/// `reply.error(..)`, or the value.
macro_rules! or_error {
    ($reply:ident, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(errno) => return $reply.error(errno),
        }
    };
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn attributes(state: &mut State, number: Number) -> Result<FileAttr, Errno> {
    let node = state.node(number)?;
    let (size, time) = (node.contents.length(), node.changed);
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: node.contents.pages() * (PAGE / 512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: node.kind,
        perm: (node.mode & 0o7777) as u16,
        nlink: 1,
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: PAGE as u32,
        flags: 0,
    })
}

impl Disk {
    fn make(
        &self,
        req: &Request,
        (parent, name): (INodeNo, &OsStr),
        kind: FileType,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        let mut state = self.state();
        let number = state.make(parent.0, name, kind, mode, (req.uid(), req.gid()))?;
        attributes(&mut state, number)
    }

    /// After what may have been the planned operation.
    fn tell(&self) {
        self.0.changed.notify_all();
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        let number = or_error!(reply, state.find(parent.0, name));
        let found = or_error!(reply, attributes(&mut state, number));
        reply.entry(&FOR_GOOD, &found, ONCE);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = or_error!(reply, attributes(&mut self.state(), ino.0));
        reply.attr(&FOR_GOOD, &found);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let node = or_error!(reply, state.node(ino.0));
        node.mode = mode.unwrap_or(node.mode);
        node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
        if let Some(size) = size {
            node.contents.set_length(size);
        }
        match mtime {
            Some(TimeOrNow::SpecificTime(time)) => node.changed = time,
            Some(TimeOrNow::Now) => node.changed = now(),
            None => {}
        }
        let found = or_error!(reply, attributes(&mut state, ino.0));
        reply.attr(&FOR_GOOD, &found);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let mut state = self.state();
        let node = or_error!(reply, state.node(ino.0));
        reply.data(node.target.as_os_str().as_encoded_bytes());
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let kind = match mode & 0o170_000 {
            0o140_000 => FileType::Socket,
            0o010_000 => FileType::NamedPipe,
            _ => FileType::RegularFile,
        };
        let made = or_error!(reply, self.make(req, (parent, name), kind, mode));
        reply.entry(&FOR_GOOD, &made, ONCE);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let made = or_error!(reply, self.make(req, (parent, name), FileType::Directory, mode));
        reply.entry(&FOR_GOOD, &made, ONCE);
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let made = or_error!(reply, self.make(req, (parent, name), FileType::Symlink, 0o777));
        or_error!(reply, self.state().node(made.ino.0)).target = target.into();
        reply.entry(&FOR_GOOD, &made, ONCE);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.state().remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.state().remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut state = self.state();
        or_error!(reply, state.find(parent.0, name));
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && state.find(to.0, new).is_ok() {
            return reply.error(Errno::EEXIST);
        }
        if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        state.tree.rename((parent.0, name), (to.0, new));
        state.sweep();
        reply.ok();
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.state();
        or_error!(reply, state.node(ino.0)).open += 1;
        reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = or_error!(reply, self.make(req, (parent, name), FileType::RegularFile, mode));
        or_error!(reply, self.state().node(made.ino.0)).open += 1;
        reply.created(&FOR_GOOD, &made, ONCE, NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut state = self.state();
        if let Ok(node) = state.node(ino.0) {
            node.open = node.open.saturating_sub(1);
            if node.open == 0 {
                state.sweep();
            }
        }
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        let node = or_error!(reply, state.node(ino.0));
        reply.data(&node.contents.read(offset, size.into()));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        // O_DSYNC shows here only with direct I/O; else FSYNC follows.
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.state().write(ino.0, offset, data);
        self.tell();
        match written {
            Ok(written) => reply.written(written),
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // 1: FALLOC_FL_KEEP_SIZE; the others are for holes.
        if !matches!(mode, 0 | 1) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let end = self.state().allocate(ino.0, offset, offset + length, mode == 0);
        self.tell();
        done(reply, end);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        done(reply, self.state().check_power());
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let end = self.state().sync(ino.0);
        self.tell();
        done(reply, end);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let end = self.state().sync(ino.0);
        self.tell();
        done(reply, end);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut state = self.state();
        or_error!(reply, state.node(ino.0));
        let names = state.tree.entries(ino.0).map(|(name, number)| (name.clone(), number));
        let mut all = vec![(".".into(), ino.0), ("..".into(), ino.0)];
        all.extend(names);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (name, number)) in all.iter().enumerate().skip(from) {
            let Ok(node) = state.node(*number) else { continue };
            if reply.add(INodeNo(*number), at as u64 + 1, node.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.state();
        let blocks = state.size.unwrap_or(1 << 40) / PAGE;
        let free = state.free().min(blocks);
        reply.statfs(blocks, free, free, 1 << 20, 1 << 20, PAGE as u32, 255, PAGE as u32);
    }
}
