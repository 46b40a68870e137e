//! The names of the simulated disk: what a lookup sees now, and what a crash would leave of it.
//!
//! A creation, rename or removal is one change: after a crash it has happened or not, never half. Changes in a
//! directory that was not synced survive in any combination.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};

use super::content::{Content, SharedContent};
use super::lock;
use super::random::{SplitMix64, Survival};

/// Names a file or directory for good, whatever it is called.
pub(super) type NodeId = u64;
const ROOT: NodeId = 0;

/// Directories and files by name. The root always exists.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next_id: NodeId,
    unsynced: Vec<Vec<Edit>>,
}

#[derive(Debug)]
enum Node {
    Dir { seen: BTreeMap<String, NodeId>, durable: BTreeMap<String, NodeId> },
    File(SharedContent),
}

/// One name of one directory changes from `before` to `after`.
#[derive(Debug, Clone)]
struct Edit {
    dir: NodeId,
    name: String,
    before: Option<NodeId>,
    after: Option<NodeId>,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree { nodes: BTreeMap::from([(ROOT, empty_dir())]), next_id: ROOT + 1, unsynced: Vec::new() }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<SharedContent> {
        match &self.nodes[&self.find(path)?] {
            Node::File(content) => Ok(Arc::clone(content)),
            Node::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<SharedContent> {
        let content = Arc::new(Mutex::new(Content::default()));
        self.add(path, Node::File(Arc::clone(&content)))?;
        Ok(content)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path) {
            Ok(id) if matches!(self.nodes[&id], Node::Dir { .. }) => Ok(()),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => {
                self.create_dir(path.parent().ok_or(io::ErrorKind::NotFound)?)?;
                self.add(path, empty_dir())
            }
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (old, new) = (self.place(from)?, self.place(to)?);
        let replaced = self.names(new.0)?.get(&new.1).copied();
        self.change(vec![
            Edit { dir: old.0, name: old.1, before: Some(node), after: None },
            Edit { dir: new.0, name: new.1, before: replaced, after: Some(node) },
        ]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        let node = self.find(path)?;
        let (dir, name) = self.place(path)?;
        self.change(vec![Edit { dir, name, before: Some(node), after: None }]);
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.names(self.find(dir)?)?.keys().cloned().collect())
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<NodeId> {
        let id = self.find(path)?;
        self.names(id).map(|_| id)
    }

    /// Every change that touches `dir` outlives a crash.
    pub(super) fn sync_dir(&mut self, dir: NodeId) {
        let unsynced = std::mem::take(&mut self.unsynced);
        for edits in unsynced {
            if edits.iter().any(|edit| edit.dir == dir) {
                self.make_durable(&edits);
            } else {
                self.unsynced.push(edits);
            }
        }
        if self.unsynced.is_empty() {
            self.forget_removed();
        }
    }

    /// Leaves the names and bytes that the medium holds after a loss of power.
    pub(super) fn crash(&mut self, random: &mut SplitMix64) {
        let survival = Survival::draw(random);
        for edits in std::mem::take(&mut self.unsynced) {
            if survival == Survival::Everything || (survival == Survival::Some && random.coin()) {
                self.make_durable(&edits);
            }
        }
        for node in self.nodes.values_mut() {
            if let Node::Dir { seen, durable } = node {
                seen.clone_from(durable);
            }
        }
        self.forget_removed();
        for content in self.files() {
            lock(&content).crash(random);
        }
    }

    /// The files that have a name, in the order of their creation.
    pub(super) fn files(&self) -> Vec<SharedContent> {
        let reachable = self.reachable();
        let file = |id| match &self.nodes[id] {
            Node::File(content) => Some(Arc::clone(content)),
            Node::Dir { .. } => None,
        };
        reachable.iter().filter_map(file).collect()
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut id = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                id = *self.names(id)?.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(id)
    }

    /// The directory that holds `path`'s last name, and that name.
    fn place(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidFilename)?;
        Ok((self.find(path.parent().ok_or(io::ErrorKind::InvalidFilename)?)?, name.to_owned()))
    }

    fn names(&self, id: NodeId) -> io::Result<&BTreeMap<String, NodeId>> {
        match &self.nodes[&id] {
            Node::Dir { seen, .. } => Ok(seen),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        if self.names(dir)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next_id;
        self.next_id += 1;
        self.nodes.insert(id, node);
        self.change(vec![Edit { dir, name, before: None, after: Some(id) }]);
        Ok(())
    }

    fn change(&mut self, edits: Vec<Edit>) {
        for edit in &edits {
            if let Some(Node::Dir { seen, .. }) = self.nodes.get_mut(&edit.dir) {
                apply(edit, seen);
            }
        }
        self.unsynced.push(edits);
    }

    fn make_durable(&mut self, edits: &[Edit]) {
        for edit in edits {
            if let Some(Node::Dir { durable, .. }) = self.nodes.get_mut(&edit.dir) {
                apply(edit, durable);
            }
        }
    }

    /// Frees what has no name any more, once no crash can give it one back.
    fn forget_removed(&mut self) {
        let reachable = self.reachable();
        self.nodes.retain(|id, _| reachable.contains(id));
    }

    fn reachable(&self) -> BTreeSet<NodeId> {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Node::Dir { seen, .. } = &self.nodes[&id] {
                open.extend(seen.values().filter(|&&child| reachable.insert(child)));
            }
        }
        reachable
    }
}

/// A removal takes away only what it saw: an earlier change of that name may have been lost.
fn apply(edit: &Edit, names: &mut BTreeMap<String, NodeId>) {
    match edit.after {
        Some(node) => {
            names.insert(edit.name.clone(), node);
        }
        None if names.get(&edit.name) == edit.before.as_ref() => {
            names.remove(&edit.name);
        }
        None => {}
    }
}

fn empty_dir() -> Node {
    Node::Dir { seen: BTreeMap::new(), durable: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync_dir(tree: &mut Tree, path: &str) {
        let dir = tree.dir(Path::new(path)).unwrap();
        tree.sync_dir(dir);
    }

    #[test]
    fn a_rename_happens_or_not_but_never_half() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..40 {
            let mut tree = Tree::new();
            tree.create_file(Path::new("/a")).unwrap();
            sync_dir(&mut tree, "/");
            tree.rename(Path::new("/a"), Path::new("/b")).unwrap();
            tree.crash(&mut SplitMix64::new(seed));
            outcomes.insert(tree.list(Path::new("/")).unwrap());
        }
        assert_eq!(Vec::from_iter(outcomes), [vec!["a".to_owned()], vec!["b".to_owned()]]);
    }

    #[test]
    fn synced_names_outlive_every_crash() {
        for seed in 0..40 {
            let mut tree = Tree::new();
            tree.create_dir(Path::new("/d")).unwrap();
            tree.create_file(Path::new("/d/f")).unwrap();
            sync_dir(&mut tree, "/d");
            sync_dir(&mut tree, "/");
            tree.remove(Path::new("/d/f")).unwrap();
            tree.create_file(Path::new("/d/g")).unwrap();
            sync_dir(&mut tree, "/d");
            tree.crash(&mut SplitMix64::new(seed));
            assert_eq!(tree.list(Path::new("/d")).unwrap(), ["g"], "seed {seed}");
        }
    }

    #[test]
    fn a_directory_takes_its_files_with_it() {
        let mut tree = Tree::new();
        tree.create_dir(Path::new("/new/deep")).unwrap();
        tree.create_file(Path::new("/new/deep/f")).unwrap();
        tree.rename(Path::new("/new"), Path::new("/old")).unwrap();
        assert!(tree.file(Path::new("/old/deep/f")).is_ok());
        assert_eq!(tree.list(Path::new("/")).unwrap(), ["old"]);
    }
}
