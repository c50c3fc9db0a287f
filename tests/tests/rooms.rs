//! The rooms of the house: who imports whom, read from the sources. No circle of files, and no stage that knows another.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, UseTree,
    visit::{self, Visit},
};

/// A module by the names that lead to it from the root of its crate.
type Module = Vec<String>;

/// The stages of the dataflow: each is a module of the operators, and none knows another.
const STAGES: [&str; 5] = ["clock", "fetch", "decode", "query", "sink"];

/// What one file says, tests left out.
#[derive(Default)]
struct Source {
    /// The modules that it declares, those for tests left out.
    children: BTreeSet<String>,
    tests: BTreeSet<String>,
    /// Each name that a `use` brings into it, with the path it stands for.
    imports: Vec<(String, Vec<String>)>,
    /// All paths of several names that are written in it.
    paths: Vec<Vec<String>>,
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let named = |name: &str| attribute.path().is_ident(name);
        let is_cfg_test = || attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test");
        named("test") || named("cfg") && is_cfg_test()
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        } else if let Item::Mod(ItemMod { ident, content: None, .. }) = item {
            self.tests.insert(ident.to_string());
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        assert!(item.content.is_none(), "a module within a file: {}", item.ident);
        self.children.insert(item.ident.to_string());
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // One name alone is a name, or how far something is visible.
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        // What is in a macro is not parsed: its words are looked through.
        let text = call.tokens.to_string();
        let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).collect();
        let text = words.join(" ").replace(" :: ", "::");
        let paths = text.split_whitespace().filter(|word| word.contains("::"));
        self.paths.extend(paths.map(|path| path.split("::").map(String::from).collect()));
        visit::visit_macro(self, call);
    }
}

impl Source {
    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => self.imports.push(("*".into(), before.clone())),
            UseTree::Name(name) if name.ident == "self" => {
                self.imports.push((before.last().cloned().unwrap_or_default(), before.clone()));
            }
            UseTree::Name(name) => {
                let path = before.iter().cloned().chain([name.ident.to_string()]).collect();
                self.imports.push((name.ident.to_string(), path));
            }
            UseTree::Rename(rename) => {
                let path = before.iter().cloned().chain([rename.ident.to_string()]).collect();
                self.imports.push((rename.rename.to_string(), path));
            }
        }
    }
}

/// The files of one crate by their modules.
struct House(BTreeMap<Module, Source>);

impl House {
    /// Reads files, each with its path below `src`.
    fn read<'t>(files: impl Iterator<Item = (&'t str, &'t str)>) -> House {
        let mut sources: BTreeMap<Module, Source> = BTreeMap::new();
        for (path, text) in files {
            let file = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
            let mut source = Source::default();
            source.visit_file(&file);
            let names = path.trim_end_matches(".rs").split('/').filter(|name| !matches!(*name, "lib" | "mod"));
            sources.insert(names.map(String::from).collect(), source);
        }
        let for_tests: Vec<Module> = sources
            .iter()
            .flat_map(|(module, source)| {
                source.tests.iter().map(|name| [module.as_slice(), std::slice::from_ref(name)].concat())
            })
            .collect();
        for_tests.iter().for_each(|module| drop(sources.remove(module)));
        House(sources)
    }

    /// The module in which stands what a path leads to, from where it is written; `None` for other crates and for what is not in
    /// a module.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let source = self.0.get(from)?;
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name if source.children.contains(name) => [from.as_slice(), &[name.to_string()]].concat(),
            _ => return None,
        };
        for name in rest {
            let below = [at.as_slice(), std::slice::from_ref(name)].concat();
            if name == "super" {
                at.pop();
            } else if self.0.contains_key(&below) {
                at = below;
            } else {
                // A name that the module itself has from somewhere else leads on to where it is from.
                let imports = &self.0.get(&at)?.imports;
                let passed_on = imports.iter().find(|(known, _)| known == name && depth < 8);
                return Some(passed_on.and_then(|(_, path)| self.resolve(&at, path, depth + 1)).unwrap_or(at));
            }
        }
        Some(at)
    }

    /// Whom each module imports.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |(module, source)| -> (&Module, BTreeSet<Module>) {
            let source: &Source = source;
            let paths = source.imports.iter().map(|(_, path)| path).chain(&source.paths);
            let targets = paths.filter_map(|path| self.resolve(module, path, 0));
            (module, targets.filter(|target| target != module).collect())
        };
        self.0.iter().map(of).collect()
    }

    /// The arrows from which imports lead back to where they begin.
    fn in_circles(&self) -> Vec<String> {
        let arrows = self.arrows();
        let leads_to = |from: &Module, to: &Module| {
            let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
            while let Some(module) = next.pop() {
                if module == to {
                    return true;
                }
                next.extend(arrows[module].iter().filter(|target| seen.insert(target)));
            }
            false
        };
        let all = arrows.iter().flat_map(|(from, targets)| targets.iter().map(move |to| (*from, to)));
        let back = all.filter(|(from, to)| leads_to(to, from));
        back.map(|(from, to)| format!("{} -> {}", from.join("/"), to.join("/"))).collect()
    }
}

/// The files of a crate, each with its path below `src`; those of programs are other crates.
fn files_of(name: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let folder = format!("{name}/src/");
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", &folder])
        .current_dir(root)
        .output()
        .expect("git runs");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let below = listed.lines().filter_map(|path| path.strip_prefix(&folder)).filter(|path| path.ends_with(".rs"));
    let sources = below.filter(|path| *path != "main.rs" && !path.starts_with("bin/"));
    let read = |path: &str| Some((path.to_string(), std::fs::read_to_string(root.join(&folder).join(path)).ok()?));
    let files: Vec<(String, String)> = sources.filter_map(read).collect();
    assert!(!files.is_empty(), "no sources of {name}");
    files
}

fn house(files: &[(String, String)]) -> House {
    House::read(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for name in ["checkpoint", "connectors", "operators", "dataflow", "stack", "tests"] {
        let files = files_of(name);
        assert_eq!(house(&files).in_circles(), [""; 0], "{name}");
    }
}

#[test]
fn no_stage_knows_another() {
    let files = files_of("operators");
    let house = house(&files);
    for stage in STAGES {
        assert!(house.0.contains_key(&vec![stage.to_string()]), "there is no stage {stage}");
    }
    for (module, targets) in house.arrows() {
        let stage_of = |module: &Module| module.first().cloned().filter(|name| STAGES.contains(&name.as_str()));
        for target in targets {
            if let (Some(one), Some(other)) = (stage_of(module), stage_of(&target)) {
                assert_eq!(one, other, "{} imports {}", module.join("/"), target.join("/"));
            }
        }
    }
}

/// The reader itself: what it must see, and what it must not take for an import.
#[test]
fn imports_are_followed_to_where_a_name_is_from() {
    let circles = |files: &[(&str, &str)]| House::read(files.iter().copied()).in_circles();
    let root = "mod a; mod b; pub use b::B; pub use a::A;";
    let none: [&str; 0] = [];
    assert_eq!(circles(&[("lib.rs", root), ("a.rs", "use crate::B;"), ("b.rs", "pub struct B;")]), none);
    let both = ["a -> b", "b -> a"];
    for back in [
        "use crate::a::A;",
        "use crate::A;",
        "use super::{a};",
        "fn f() -> crate::a::A { todo() }",
        "fn f() { println!(\"{}\", crate::a::f()) }",
    ] {
        assert_eq!(circles(&[("lib.rs", root), ("a.rs", "use crate::B;"), ("b.rs", back)]), both, "{back}");
    }
    // Tests may know everything; a face and its folder are not an exception.
    let tests = "pub struct B; #[cfg(test)] mod tests { use crate::A; }";
    assert_eq!(circles(&[("lib.rs", root), ("a.rs", "use crate::B;"), ("b.rs", tests)]), none);
    let face = [("lib.rs", "mod a;"), ("a/mod.rs", "mod b; use b::B; pub struct A;"), ("a/b.rs", "use super::A;")];
    assert_eq!(circles(&face), ["a -> a/b", "a/b -> a"]);
}
