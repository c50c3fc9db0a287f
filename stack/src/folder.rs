//! The folder of a server: new or empty, and open to the user that the server runs as.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Result, StackError},
    process::User,
};

/// Makes a folder, which must be new or empty, because it is removed at the end with all that is in it. Its path from the root: a
/// server has a working directory of its own.
pub(crate) fn make(dir: &Path) -> Result<PathBuf> {
    let failed = |e| StackError::io(format!("make {}", dir.display()))(e);
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let remedy = "a server's folder is removed at its end; choose another --dir, or empty this one".into();
        return Err(StackError::Folder { folder: dir.into(), why: "is not empty".into(), remedy });
    }
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<&Path> = dir.ancestors().take_while(is_new).collect();
    fs::create_dir_all(dir).map_err(failed)?;
    // Another user may have to go through, whatever the umask says. Folders that were there are somebody else's.
    for folder in made {
        let mode = fs::metadata(folder).map_err(failed)?.permissions().mode();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o111)).map_err(failed)?;
    }
    fs::canonicalize(dir).map_err(failed)
}

/// Removes what [`make`] made, where the server never started.
pub(crate) fn remove(dir: &Path) {
    let _ = fs::remove_dir_all(dir); // what is left is of a start that failed, and that is said
    let _ = dir.parent().map(fs::remove_dir); // not if anything else is in it
}

/// Whether another user, as whom a server runs, may go to a place. `remedy` is what else can be done.
pub(crate) fn may_enter((name, ids): (&str, (u32, u32)), place: &Path, remedy: &str) -> Result<()> {
    let asking = format!("ask whether {name} may enter {}", place.display());
    match closed_to(Some(ids), place).map_err(StackError::io(asking))? {
        None => Ok(()),
        Some(folder) => Err(StackError::Folder {
            why: format!("may not be entered by user {name}, as whom the server runs, because PostgreSQL refuses root"),
            remedy: format!("{remedy}, or open this one: chmod o+x {}", folder.display()),
            folder,
        }),
    }
}

/// The first folder on the way to a place that a user may not enter, the outermost first. The system is asked, as that user: there is
/// more than modes that it goes by.
fn closed_to(user: User, place: &Path) -> io::Result<Option<PathBuf>> {
    let mut folders: Vec<&Path> = place.ancestors().collect();
    folders.reverse();
    let mut ask = Command::new("/bin/sh");
    ask.args(["-c", r#"for folder; do [ -x "$folder" ] || exit 1; echo; done"#, "sh"]).args(&folders).current_dir("/");
    if let Some((uid, gid)) = user {
        ask.gid(gid).uid(uid);
    }
    let passed = ask.output()?.stdout.len();
    Ok(folders.get(passed).map(|folder| folder.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&dir.path().join("a/b")).unwrap();
        assert!(made.is_absolute() && made.ends_with("a/b"));
        fs::write(made.join("mine"), "x").unwrap();
        let refused = make(&dir.path().join("a/b")).unwrap_err().to_string();
        assert!(refused.contains("a/b is not empty; a server's folder is removed at its end"), "{refused}");
        assert!(made.join("mine").exists());
    }

    #[test]
    fn the_outermost_closed_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        for folder in [&inner, &outer] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o600)).unwrap();
        }
        // Whoever runs this: root enters everywhere, and may be somebody else.
        let is_root = fs::read_dir(&inner).is_ok();
        let user = is_root.then_some((65_534, 65_534));
        assert_eq!(closed_to(user, &inner).unwrap(), Some(outer.clone()));
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(closed_to(user, &inner).unwrap(), Some(inner.clone()));
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(closed_to(user, &inner).unwrap(), None);
    }
}
