//! A disk: its files and names, its power, its size, and what is to go wrong.
//!
//! next: `file.rs`, `tree.rs`

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::SystemTime;

use fuser::{Errno, FileType};
use rustix::process::{Pid, Signal, kill_process};

use crate::file::{Contents, PAGE};
use crate::random::Random;
use crate::tree::{Number, ROOT, Tree};
use crate::{Cut, Fault, Names, Operation};

/// For the times of files; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "a file system has a clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) changed: SystemTime,
    pub(crate) contents: Contents,
    pub(crate) target: PathBuf,
    /// Open files of it.
    pub(crate) open: usize,
}

impl Node {
    fn new(kind: FileType, mode: u32, owner: (u32, u32)) -> Self {
        let (contents, target) = (Contents::default(), PathBuf::new());
        Node { kind, mode, owner, changed: now(), contents, target, open: 0 }
    }
}

pub(crate) struct State {
    nodes: HashMap<Number, Node>,
    pub(crate) tree: Tree,
    last: Number,
    names: Names,
    random: Random,
    is_on: bool,
    pub(crate) powered: Option<Pid>,
    pub(crate) size: Option<u64>,
    plan: Option<(Operation, u64, Fault)>,
    pub(crate) met: usize,
}

impl State {
    pub(crate) fn new(seed: u64, names: Names) -> Self {
        let root = Node::new(FileType::Directory, 0o755, (0, 0));
        State {
            nodes: HashMap::from([(ROOT, root)]),
            tree: Tree::new(),
            last: ROOT,
            names,
            random: Random::new(seed),
            is_on: false,
            powered: None,
            size: None,
            plan: None,
            met: 0,
        }
    }

    pub(crate) fn power_up(&mut self) {
        self.is_on = true;
    }

    pub(crate) fn cut(&mut self, cut: Cut) {
        if !std::mem::replace(&mut self.is_on, false) {
            return;
        }
        if let Some(process) = self.powered.take() {
            let _ = kill_process(process, Signal::KILL); // it may be gone already
        }
        self.met = self.unsynced();
        let mut torn = (cut == Cut::Torn).then_some(&mut self.random);
        self.tree.cut(torn.as_deref_mut());
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        numbers.sort_unstable(); // so that equal seeds tear alike
        for number in numbers {
            let node = self.nodes.get_mut(&number).expect("it was listed just now");
            node.contents.cut(torn.as_deref_mut());
            node.open = 0;
        }
        self.sweep();
    }

    pub(crate) fn plan(&mut self, plan: Option<(Operation, u64, Fault)>) -> bool {
        std::mem::replace(&mut self.plan, plan).is_some()
    }

    pub(crate) fn is_planned(&self) -> bool {
        self.plan.is_some()
    }

    /// To be asked before each operation: it may not be.
    pub(crate) fn begin(&mut self, operation: Operation) -> Result<(), Errno> {
        self.check_power()?;
        match &mut self.plan {
            Some((planned, n, fault)) if *planned == operation => {
                *n = n.saturating_sub(1);
                if *n > 0 {
                    return Ok(());
                }
                let fault = *fault;
                self.plan = None;
                match fault {
                    Fault::Fail(errno) => Err(errno),
                    Fault::Cut(cut) => {
                        self.cut(cut);
                        Err(Errno::EIO)
                    }
                }
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_power(&self) -> Result<(), Errno> {
        if self.is_on { Ok(()) } else { Err(Errno::EIO) }
    }

    pub(crate) fn node(&mut self, number: Number) -> Result<&mut Node, Errno> {
        self.check_power()?;
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(crate) fn find(&self, directory: Number, name: &OsStr) -> Result<Number, Errno> {
        self.check_power()?;
        self.tree.find(directory, name).ok_or(Errno::ENOENT)
    }

    pub(crate) fn make(
        &mut self,
        directory: Number,
        name: &OsStr,
        kind: FileType,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<Number, Errno> {
        self.check_power()?;
        if self.tree.find(directory, name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.last += 1;
        self.nodes.insert(self.last, Node::new(kind, mode, owner));
        if kind == FileType::Directory {
            self.tree.make_directory(self.last);
        }
        self.tree.set(directory, name, self.last);
        Ok(self.last)
    }

    pub(crate) fn remove(&mut self, directory: Number, name: &OsStr) -> Result<(), Errno> {
        let number = self.find(directory, name)?;
        let is_directory = self.node(number)?.kind == FileType::Directory;
        if is_directory && self.tree.entries(number).next().is_some() {
            return Err(Errno::ENOTEMPTY);
        }
        self.tree.remove(directory, name);
        self.sweep();
        Ok(())
    }

    pub(crate) fn write(&mut self, number: Number, at: u64, bytes: &[u8]) -> Result<u32, Errno> {
        self.begin(Operation::Write)?;
        let free = self.free();
        let node = self.node(number)?;
        let written = node.contents.write(at, bytes, free);
        node.changed = now();
        match written {
            0 if !bytes.is_empty() => Err(Errno::ENOSPC),
            written => Ok(u32::try_from(written).unwrap_or(u32::MAX)),
        }
    }

    pub(crate) fn allocate(
        &mut self,
        number: Number,
        at: u64,
        end: u64,
        grows: bool,
    ) -> Result<(), Errno> {
        self.begin(Operation::Write)?;
        let free = self.free();
        let contents = &mut self.node(number)?.contents;
        if contents.missing(at, end) > free {
            return Err(Errno::ENOSPC);
        }
        contents.allocate(at, end, grows);
        Ok(())
    }

    pub(crate) fn sync(&mut self, number: Number) -> Result<(), Errno> {
        let begun = self.begin(Operation::Sync);
        let node = self.node(number)?;
        if begun.is_err() {
            node.contents.fail_sync();
            return begun;
        }
        node.contents.sync();
        let is_directory = node.kind == FileType::Directory;
        match self.names {
            Names::Journal => self.tree.sync_all(),
            Names::Strict if is_directory => self.tree.sync(number),
            Names::Strict => return Ok(()),
        }
        self.sweep();
        Ok(())
    }

    pub(crate) fn unsynced(&self) -> usize {
        let of_files = self.nodes.values().map(|node| node.contents.unsynced());
        of_files.sum::<usize>() + self.tree.unsynced()
    }

    pub(crate) fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.contents.pages() * PAGE).sum()
    }

    /// Pages.
    pub(crate) fn free(&self) -> u64 {
        self.size.map_or(u64::MAX, |size| size.saturating_sub(self.used()) / PAGE)
    }

    /// Forgets what has no name, not after a cut either, and is not open.
    pub(crate) fn sweep(&mut self) {
        let named = self.tree.named();
        self.nodes.retain(|number, node| node.open > 0 || named.contains(number));
    }
}
