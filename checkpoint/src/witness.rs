//! Objects that bear witness to the starts of a job: the one thing that a change of the control tables does not change with them.
//!
//! All tables dropped and made anew, or all of them restored to one earlier moment, look whole from inside. So each start
//! puts an object on S3 once it has the fence, before it loads anything: `<job>/<fence_id>/generation=<g>`
//! ([`names::witness`]), whose body says in which database the tables are ([`Home`]). It is never deleted.
//!
//! Whoever starts lists the witnesses *before* it reads the fence, so that a start which goes on meanwhile can only make the fence
//! newer than what was listed. Then [`check`] decides:
//!
//! * a witness of our own fence id and a higher generation than the fence has: the tables were restored. Its name alone counts. So
//!   does one of the same generation that another start has left, whose nonce is not that of the fence;
//! * a witness of another fence id that was not adopted, whose newest body names our namespace, database and schema: the tables
//!   that it knew are not the ones that are there, so they were made anew;
//! * one of another fence id whose newest body cannot be read: nobody knows, which is an error of its own.
//!
//! Within one generation the loads bear witness ([`check_loads`]): an object is put when one was read back, and a COPY manifest only
//! when every load before it is in. What they say is in, and is not below `next_epoch`, shows that the tables were restored. (Not
//! seen is the restore of a load after whose COMMIT the process was gone at once.)
//!
//! The newest body of a fence id decides, because its tables may have moved: a database that was renamed leaves its old name
//! to whoever makes one of that name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{Epoch, Generation, Nonce, fence::Fence, names};

/// The version of the body. A body of another one is not understood.
const VERSION: u32 = 1;

/// Where control tables are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Home {
    /// Identity of the cluster or workgroup, as the warehouse gives it.
    pub namespace: String,
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: String,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Taker {
    nonce: String,
}

impl Home {
    /// The body of a witness of a start with this nonce.
    pub fn to_body(&self, nonce: &Nonce) -> String {
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let (namespace, database, schema) = (text(&self.namespace), text(&self.database), text(&self.schema));
        format!(
            r#"{{"version":{VERSION},"namespace":{namespace},"database":{database},"schema":{schema},"nonce":"{nonce}"}}"#
        )
    }

    /// Reads the body of a witness, or says why it cannot.
    pub fn from_body(body: &[u8]) -> Result<Home, String> {
        let Version { version } = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        if version != VERSION {
            return Err(format!("it has version {version}, and this program knows version {VERSION}"));
        }
        serde_json::from_slice(body).map_err(|e| e.to_string())
    }

    /// Whether both are the same. The warehouse folds the names of databases and schemas to lower case.
    pub fn is(&self, other: &Home) -> bool {
        self.namespace == other.namespace
            && self.database.eq_ignore_ascii_case(&other.database)
            && self.schema.eq_ignore_ascii_case(&other.schema)
    }
}

/// A witness that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The fence id of the control tables that the start found.
    pub fence_id: String,
    /// The start's generation.
    pub generation: Generation,
    /// The bytes of the object; empty where it could not be read any more. Not looked at where the fence id was adopted, or has a
    /// newer witness; of our own only the nonce.
    pub body: Vec<u8>,
}

/// What the control tables say, read after the witnesses were listed.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// The job.
    pub job: &'a str,
    /// Minted with the fence.
    pub fence_id: &'a str,
    /// The newest generation that the fence knows: before a start takes the fence that of its predecessor, afterwards its own.
    pub generation: Generation,
    /// The nonce of the start that took it.
    pub nonce: &'a Nonce,
    /// Where they are.
    pub home: &'a Home,
    /// The fence ids that a person said these tables follow.
    pub adopted: &'a BTreeSet<String>,
}

/// Why a start does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Witnessed {
    /// A start was there that the tables do not know any more.
    #[error(
        "the control tables were restored to an earlier moment: their newest generation is {generation}, and {object} \
         says that generation {witnessed} was taken"
    )]
    Restored {
        /// The witness.
        object: String,
        /// The generation that the fence has.
        generation: Generation,
        /// The generation that the witness has.
        witnessed: Generation,
    },
    /// A load was begun that the tables do not know any more.
    #[error(
        "the control tables were restored to an earlier moment: their next epoch is {next_epoch}, and {object} says that \
         all epochs before {below} were loaded"
    )]
    Rewound {
        /// What says so.
        object: String,
        /// The next epoch that the fence has.
        next_epoch: Epoch,
        /// The first epoch that may not be in.
        below: Epoch,
    },
    /// Another start has left the witness of our generation.
    #[error(
        "the control tables were restored to an earlier moment: {object} is of another start that took the same generation"
    )]
    Taken {
        /// The witness.
        object: String,
    },
    /// Other tables were there.
    #[error(
        "the control tables were made anew: {object} says that this job ran in the same schema with others, whose fence \
         id was {other}"
    )]
    MadeAnew {
        /// The witness.
        object: String,
        /// The fence id of the tables that were there.
        other: String,
    },
    /// It is not known where other tables of this job are.
    #[error("{object} should say where other control tables of this job are, and cannot be understood: {why}")]
    Unreadable {
        /// The witness.
        object: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The newest witness of each fence id, by fence id: those whose bodies are worth reading.
pub fn newest<'a>(listed: impl IntoIterator<Item = (&'a str, Generation)>) -> BTreeMap<&'a str, Generation> {
    let mut newest: BTreeMap<&str, Generation> = BTreeMap::new();
    for (fence_id, generation) in listed {
        newest.entry(fence_id).and_modify(|g| *g = generation.max(*g)).or_insert(generation);
    }
    newest
}

/// Decides whether the control tables are those that the witnesses know. `found` is what was listed before `tables` was read.
pub fn check(found: &[Witness], tables: &Tables<'_>) -> Result<(), Witnessed> {
    let newest = newest(found.iter().map(|w| (w.fence_id.as_str(), w.generation)));
    let object = |w: &Witness| names::witness(tables.job, &w.fence_id, w.generation);
    if let Some(witnessed) = newest.get(tables.fence_id).copied().filter(|newest| *newest > tables.generation) {
        let object = names::witness(tables.job, tables.fence_id, witnessed);
        return Err(Witnessed::Restored { object, generation: tables.generation, witnessed });
    }
    let other = |w: &Witness| {
        let taker: Option<Taker> = serde_json::from_slice(&w.body).ok();
        taker.is_some_and(|taker| taker.nonce != tables.nonce.as_str())
    };
    let same = |w: &&Witness| w.fence_id == tables.fence_id && w.generation == tables.generation;
    if let Some(witness) = found.iter().filter(same).find(|w| other(w)) {
        return Err(Witnessed::Taken { object: object(witness) });
    }
    let strangers = found.iter().filter(|w| {
        let known = w.fence_id == tables.fence_id || tables.adopted.contains(&w.fence_id);
        !known && newest.get(w.fence_id.as_str()) == Some(&w.generation)
    });
    let mut unreadable = None;
    for witness in strangers {
        match Home::from_body(&witness.body) {
            Ok(home) if home.is(tables.home) => {
                return Err(Witnessed::MadeAnew { object: object(witness), other: witness.fence_id.clone() });
            }
            Ok(_) => {} // of another database: a namesake
            // What is known for sure is said before what is not known.
            Err(why) => {
                unreadable.get_or_insert_with(|| Witnessed::Unreadable { object: object(witness), why });
            }
        }
    }
    unreadable.map_or(Ok(()), Err)
}

/// What the names say that the newest start of the fence id has left for its loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The generation of the start.
    pub generation: Generation,
    /// Its nonce.
    pub nonce: Nonce,
    /// All epochs before this one are in.
    pub below: Epoch,
    /// Where the names are that say so.
    pub object: String,
}

/// Decides whether the fence knows of the loads before the newest one. `begun` was listed before the fence was read.
pub fn check_loads(begun: Option<&Begun>, fence: &Fence) -> Result<(), Witnessed> {
    match begun {
        Some(Begun { generation, nonce, below, object })
            if (*generation, nonce) == (fence.generation, &fence.nonce) && *below > fence.next_epoch =>
        {
            Err(Witnessed::Rewound { object: object.clone(), next_epoch: fence.next_epoch, below: *below })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_begun_when_those_before_it_are_in() {
        let nonce = |n| Nonce::new([n; 16]);
        let fence = Fence {
            fence_id: "f".into(),
            namespace: "n".into(),
            generation: Generation(3),
            nonce: nonce(3),
            next_epoch: Epoch(7),
            digest: crate::Digest::first("f"),
            cut_digest: crate::Digest::first("f"),
            cut_epoch: None,
        };
        let begun = |generation, n, below| Begun {
            generation: Generation(generation),
            nonce: nonce(n),
            below: Epoch(below),
            object: "o".into(),
        };
        assert_eq!(check_loads(None, &fence), Ok(()));
        for (generation, n, below, is_whole) in [
            (3, 3, 7, true),
            (3, 3, 6, true),
            (3, 3, 8, false),
            (2, 2, 9, true), // of a start before ours, which the generation's own witness is about
            (3, 4, 9, true), // an attempt that nobody knows of any more
        ] {
            let result = check_loads(Some(&begun(generation, n, below)), &fence);
            assert_eq!(result.is_ok(), is_whole, "{generation} {n} {below}");
        }
    }

    fn home(namespace: &str, database: &str, schema: &str) -> Home {
        Home { namespace: namespace.into(), database: database.into(), schema: schema.into() }
    }

    fn body(home: &Home) -> String {
        home.to_body(&Nonce::new([1; 16]))
    }

    fn witness(fence_id: &str, generation: u64, body: &str) -> Witness {
        Witness { fence_id: fence_id.into(), generation: Generation(generation), body: body.into() }
    }

    #[test]
    fn a_body_has_one_form_and_is_read_again() {
        let home = home("n-1", "dev", r#"tide"gate"#);
        let body = home.to_body(&Nonce::new([1; 16]));
        let nonce = "01".repeat(16);
        let expected = r#"{"version":1,"namespace":"n-1","database":"dev","schema":"tide\"gate","nonce":""#;
        assert_eq!(body, format!("{expected}{nonce}\"}}"));
        assert_eq!(Home::from_body(body.as_bytes()), Ok(home.clone()));
        let longer = body.replace('}', r#","host":"h"}"#);
        assert_eq!(Home::from_body(longer.as_bytes()), Ok(home), "what a later program adds does no harm");
        let newer = Home::from_body(br#"{"version":2,"cluster":"c"}"#).unwrap_err();
        assert!(newer.contains("version 2"), "{newer}");
        for bad in ["", "x", "{}", "[]", r#"{"version":1}"#, r#"{"version":1,"namespace":"n","database":"d"}"#] {
            assert!(Home::from_body(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// Every kind of witness beside every state of the tables.
    #[test]
    fn all_cases() {
        let here = home("n", "dev", "tidegate");
        let (same, upper) = (body(&here), body(&home("n", "DEV", "Tidegate")));
        let elsewhere = [home("m", "dev", "tidegate"), home("n", "prod", "tidegate"), home("n", "dev", "other")];
        let elsewhere = elsewhere.map(|h| body(&h));
        let bad = "not JSON";
        let adopted: BTreeSet<String> = ["old".to_string()].into();
        let nothing = BTreeSet::new();
        let nonce = Nonce::new([1; 16]);
        let verdict = |found: &[Witness], adopted: &BTreeSet<String>| {
            let generation = Generation(5);
            let verdict =
                check(found, &Tables { job: "j", fence_id: "own", generation, nonce: &nonce, home: &here, adopted });
            let mut turned = found.to_vec();
            turned.reverse();
            let again =
                check(&turned, &Tables { job: "j", fence_id: "own", generation, nonce: &nonce, home: &here, adopted });
            assert_eq!(verdict, again, "the order in which they were listed means nothing");
            verdict.err().map(|w| match w {
                Witnessed::Restored { object, generation, witnessed } => {
                    assert_eq!(generation, Generation(5));
                    format!("restored {object} {witnessed}")
                }
                Witnessed::MadeAnew { object, other } => format!("anew {object} {other}"),
                Witnessed::Unreadable { object, .. } => format!("unreadable {object}"),
                Witnessed::Taken { object } => format!("taken {object}"),
                Witnessed::Rewound { .. } => panic!("it is decided elsewhere: {w}"),
            })
        };

        assert_eq!(verdict(&[], &nothing), None, "the first start of all");
        let another = here.to_body(&Nonce::new([2; 16]));
        for (generation, is_taken) in [(4, false), (5, true)] {
            let found = verdict(&[witness("own", generation, &another)], &nothing);
            assert_eq!(found, is_taken.then(|| "taken j/own/generation=5".into()), "{generation}");
        }
        // Our own: only the name counts, whatever is in it.
        for body in [same.as_str(), &upper, &elsewhere[0], bad, ""] {
            for (generation, halt) in [(1, false), (4, false), (5, false), (6, true), (900, true)] {
                let said = halt.then(|| format!("restored j/own/generation={generation} {generation}"));
                assert_eq!(verdict(&[witness("own", generation, body)], &nothing), said, "{body}");
            }
        }
        let own = |g| witness("own", g, &same);
        assert_eq!(
            verdict(&[own(3), own(7), own(6), own(1)], &nothing).as_deref(),
            Some("restored j/own/generation=7 7")
        );
        // Others: of the same place, unless a person said so.
        for generation in [1, 5, 9] {
            for body in [&same, &upper] {
                let other = [witness("old", generation, body), own(5)];
                let said = format!("anew j/old/generation={generation} old");
                assert_eq!(verdict(&other, &nothing), Some(said));
                assert_eq!(verdict(&other, &adopted), None);
            }
            for body in &elsewhere {
                assert_eq!(verdict(&[witness("old", generation, body), own(5)], &nothing), None, "{body}");
            }
            let said = format!("unreadable j/old/generation={generation}");
            assert_eq!(verdict(&[witness("old", generation, bad)], &nothing), Some(said));
            assert_eq!(verdict(&[witness("old", generation, bad)], &adopted), None, "nobody needs to read it");
        }
        // The newest body of a fence id decides.
        let moved = [witness("old", 1, &same), witness("old", 2, bad), witness("old", 3, &elsewhere[1])];
        assert_eq!(verdict(&moved, &nothing), None, "its database has another name now");
        let came = [witness("old", 1, &elsewhere[1]), witness("old", 2, bad), witness("old", 3, &same)];
        assert_eq!(verdict(&came, &nothing).as_deref(), Some("anew j/old/generation=3 old"));
        // Several at once: what is surest first, and one that was adopted hides none that was not.
        let (restored, anew) = (own(6), witness("x", 1, &same));
        let (strange, fine) = (witness("a", 1, bad), witness("old", 2, &same));
        assert_eq!(
            verdict(&[strange.clone(), anew.clone(), restored.clone(), fine.clone()], &adopted).as_deref(),
            Some("restored j/own/generation=6 6")
        );
        assert_eq!(
            verdict(&[strange.clone(), anew, fine.clone()], &adopted).as_deref(),
            Some("anew j/x/generation=1 x")
        );
        assert_eq!(verdict(&[strange, fine], &adopted).as_deref(), Some("unreadable j/a/generation=1"));
    }

    #[test]
    fn of_each_fence_id_the_newest_is_worth_reading() {
        let listed = [("a", 1), ("b", 7), ("a", 3), ("a", 2)].map(|(f, g)| (f, Generation(g)));
        assert_eq!(newest(listed), [("a", Generation(3)), ("b", Generation(7))].into());
    }
}
