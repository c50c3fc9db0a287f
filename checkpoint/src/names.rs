//! The only place that names an object on S3.
//!
//! Each name carries the fence id (two histories of a cloned database share nothing), the generation and nonce
//! (a zombie cannot write where its successor does, I10) and a number that is used once.

use crate::{Epoch, Generation, Nonce, garbage::Named};

/// The place of everything one generation of a job stages, below the bucket's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staging {
    /// The job.
    pub job: String,
    /// Minted with the fence row.
    pub fence_id: String,
    /// Taken at start-up.
    pub generation: Generation,
    /// This start's nonce.
    pub nonce: Nonce,
}

impl Staging {
    /// Everything below it belongs to this start of the job alone.
    pub fn root(&self) -> String {
        format!("{}/{}/g={}-{}", self.job, self.fence_id, self.generation, self.nonce)
    }

    /// A data file of one epoch, target (by its number in name order) and worker. `unique` is new for every file.
    pub fn data(&self, epoch: Epoch, target: usize, worker: usize, unique: &str) -> String {
        format!("{}/e={epoch}/t={target}/w={worker}-{unique}.parquet", self.root())
    }

    /// The folder of the COPY manifests.
    pub fn loads(&self) -> String {
        format!("{}/load", self.root())
    }

    /// What is put once a load was read back: all epochs up to its last are in.
    pub fn loaded(&self, last: Epoch) -> String {
        format!("{}/e={last}.loaded", self.loads())
    }

    /// The COPY manifest of one target in the load of epochs `first` to `last`. Each attempt has its own.
    pub fn copy_manifest(&self, first: Epoch, last: Epoch, target: usize, attempt: u32) -> String {
        format!("{}/e={first}-{last}-t={target}-{attempt}.manifest", self.loads())
    }
}

/// Everything that any start of a job has staged is below this.
pub fn all_of(job: &str, fence_id: &str) -> String {
    format!("{job}/{fence_id}")
}

/// The witness of a start ([`crate::witness`]): no staged file, so that garbage collection leaves it.
pub fn witness(job: &str, fence_id: &str, generation: Generation) -> String {
    format!("{}/generation={generation}", all_of(job, fence_id))
}

/// The fence id that a folder directly below the job's may stand for: a name that ends with a slash, as a listing has it.
pub fn read_fence_id(child: &str) -> Option<&str> {
    child.strip_suffix('/').filter(|fence_id| !fence_id.is_empty())
}

/// The generation of a witness, by its name within [`all_of`]; `None` if it is the name of something else.
pub fn read_witness(child: &str) -> Option<Generation> {
    let digits = child.strip_prefix("generation=")?;
    let generation = Generation(digits.parse().ok()?);
    // One generation has one name.
    (generation.to_string() == digits).then_some(generation)
}

/// What a name below [`all_of`] says; `None` if it is not one of ours.
pub fn read(job: &str, fence_id: &str, key: &str) -> Option<Named> {
    let rest = key.strip_prefix(&all_of(job, fence_id))?.strip_prefix("/g=")?;
    let (start, rest) = rest.split_once('/')?;
    let (generation, nonce) = start.split_once('-')?;
    Nonce::parse(nonce)?;
    let load = rest.strip_prefix("load/");
    let epoch = match load {
        Some(load) => read_load(load).map(|(_, last)| last).or_else(|| read_loaded(load))?,
        // e=<epoch>/t=<target>/w=<worker>-<unique>.parquet
        None => Epoch(rest.strip_suffix(".parquet")?.strip_prefix("e=")?.split_once("/t=")?.0.parse().ok()?),
    };
    Some(Named { generation: Generation(generation.parse().ok()?), epoch, is_load: load.is_some() })
}

/// The generation and nonce that a folder within [`all_of`] stands for: a name that ends with a slash, as a listing has it.
pub fn read_start(child: &str) -> Option<(Generation, Nonce)> {
    let (generation, nonce) = child.strip_suffix('/')?.strip_prefix("g=")?.split_once('-')?;
    Some((Generation(generation.parse().ok()?), Nonce::parse(nonce)?))
}

/// The epoch up to which all is in, by the name of what a load left when it was read back.
pub fn read_loaded(name: &str) -> Option<Epoch> {
    Some(Epoch(name.strip_suffix(".loaded")?.strip_prefix("e=")?.parse().ok()?))
}

/// The first and the last epoch of a load, by the name of its COPY manifest: `e=<first>-<last>-t=<target>-<attempt>.manifest`.
pub fn read_load(name: &str) -> Option<(Epoch, Epoch)> {
    let mut epochs = name.strip_suffix(".manifest")?.strip_prefix("e=")?.split('-');
    let (first, last) = (epochs.next()?.parse().ok()?, epochs.next()?.parse().ok()?);
    epochs.next()?.strip_prefix("t=")?;
    Some((Epoch(first), Epoch(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_start_share_no_name_with_another() {
        let staging = |generation, nonce| Staging {
            job: "clicks".into(),
            fence_id: "f".into(),
            generation: Generation(generation),
            nonce: Nonce::new([nonce; 16]),
        };
        let (a, b, c) = (staging(1, 1), staging(2, 1), staging(1, 2));
        let name = |s: &Staging| s.data(Epoch(7), 1, 0, "u");
        assert_eq!(name(&a), format!("clicks/f/g=1-{}/e=7/t=1/w=0-u.parquet", "01".repeat(16)));
        assert!(name(&a) != name(&b) && name(&a) != name(&c) && name(&b) != name(&c));
        let load = |attempt| a.copy_manifest(Epoch(7), Epoch(9), 1, attempt);
        assert_eq!(load(1), format!("clicks/f/g=1-{}/load/e=7-9-t=1-1.manifest", "01".repeat(16)));
        assert_ne!(load(1), load(2));
    }

    #[test]
    fn a_name_says_whose_it_is() {
        let staging = Staging {
            job: "clicks".into(),
            fence_id: "f".into(),
            generation: Generation(12),
            nonce: Nonce::new([1; 16]),
        };
        let named = |epoch, is_load| Some(Named { generation: Generation(12), epoch: Epoch(epoch), is_load });
        assert_eq!(read("clicks", "f", &staging.data(Epoch(7), 1, 0, "u")), named(7, false));
        assert_eq!(read("clicks", "f", &staging.copy_manifest(Epoch(7), Epoch(9), 1, 3)), named(9, true));
        assert_eq!(read("clicks", "f", &staging.loaded(Epoch(9))), named(9, true));
        let start = format!("g=12-{}/", staging.nonce);
        assert_eq!(read_start(&start), Some((staging.generation, staging.nonce.clone())));
        assert_eq!(read_load("e=7-9-t=1-3.manifest"), Some((Epoch(7), Epoch(9))));
        for other in ["g=12/", "g=12-x/", "generation=12", "e=7/"] {
            assert_eq!((read_start(other), read_load(other)), (None, None), "{other}");
        }
        let root = staging.root();
        for other in [
            "clicks/f/g=12-short/e=7/t=1/w=0-u.parquet".into(),
            format!("{root}/e=7/t=1/notes.txt"),
            format!("{root}/e=x/t=1/w=0-u.parquet"),
            format!("{root}/load/e=7-t=1-1.manifest"),
            "clicks/check/1.parquet".into(),
            witness("clicks", "f", Generation(12)),
            staging.data(Epoch(7), 1, 0, "u").replace("/f/", "/g/"),
        ] {
            assert_eq!(read("clicks", "f", &other), None, "{other}");
        }
    }

    #[test]
    fn a_witness_has_one_name() {
        let key = witness("clicks", "f", Generation(12));
        assert_eq!(key, "clicks/f/generation=12");
        assert_eq!(read_witness(key.strip_prefix("clicks/f/").unwrap()), Some(Generation(12)));
        for other in
            ["generation=", "generation=012", "generation=+12", "generation=12/", "generation=x", "g=1-00/", ""]
        {
            assert_eq!(read_witness(other), None, "{other}");
        }
        assert_eq!(read_fence_id("f/"), Some("f"));
        for other in ["f", "/", ""] {
            assert_eq!(read_fence_id(other), None, "{other}");
        }
    }
}
