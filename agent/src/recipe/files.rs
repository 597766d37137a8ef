//! A placement's files: the recipe's, with what the placement says of its own.

use std::collections::BTreeMap;

use pinion_proto::{
    bundle::RootCertificate,
    spec::{Account, FileMode, FileSpec, GuestPath, Part, PlacementSpec},
};

use super::{
    JobError,
    file::{FileTemplate, Recipe},
    ground::Ground,
    job::JobFile,
    secrecy,
};

/// Every file, in the order of [`Part`]; a placement of roots has none but those, and one that is only watched none.
pub(super) fn files(spec: &PlacementSpec, recipe: Option<&Recipe>, ground: &Ground) -> Result<Vec<JobFile>, JobError> {
    let mut files: Vec<JobFile> = Vec::new();
    let mut places: BTreeMap<GuestPath, Part> = BTreeMap::new();
    for part in Part::ALL {
        let template = recipe.and_then(|recipe| recipe.files.get(&part));
        let given = spec.files.get(&part);
        if given.is_none() && template.is_none() {
            continue;
        }
        if !spec.content.has(part) {
            return Err(JobError::NotOfRoots(part));
        }
        for (path, root) in paths(spec, part, given, template)? {
            ground.file(&path)?;
            if let Some(first) = places.insert(path.clone(), part) {
                return Err(JobError::SamePath { first, second: part, path });
            }
            let file = file(part, path, root, given, template);
            secrecy::mode(part, file.mode, ground.writable)?;
            if let Some(password) = &file.password_file {
                ground.file(password)?;
                if let Some(first) = places.get(password) {
                    return Err(JobError::SamePath { first: *first, second: part, path: password.clone() });
                }
            }
            files.push(file);
        }
    }
    if files.is_empty() && !spec.content.is_watched() { Err(JobError::NoFiles) } else { Ok(files) }
}

/// Where a part goes: one path, or one for each root, which is in that file alone.
fn paths(
    spec: &PlacementSpec,
    part: Part,
    given: Option<&FileSpec>,
    template: Option<&FileTemplate>,
) -> Result<Vec<(GuestPath, Option<RootCertificate>)>, JobError> {
    if let Some(path) = given.and_then(|given| given.path.as_ref()) {
        return Ok(vec![(path.clone(), None)]);
    }
    let template = template.ok_or(JobError::NoPath(part))?;
    let failed = |source| JobError::Path { part, source };
    if !template.path.is_for_each_root() {
        return Ok(vec![(template.path.of(spec, None).map_err(failed)?, None)]);
    }
    if !spec.content.is_roots() {
        return Err(JobError::OnlyRoots(part));
    }
    let one = |root: &RootCertificate| Ok((template.path.of(spec, Some(root)).map_err(failed)?, Some(root.clone())));
    spec.roots.iter().map(one).collect()
}

fn file(
    part: Part,
    path: GuestPath,
    root: Option<RootCertificate>,
    given: Option<&FileSpec>,
    template: Option<&FileTemplate>,
) -> JobFile {
    let mode = given.and_then(|given| given.mode).or(template.and_then(|template| template.mode));
    let owner = given.and_then(|given| given.owner.as_ref()).or(template.and_then(|template| template.owner.as_ref()));
    let group = given.and_then(|given| given.group.as_ref()).or(template.and_then(|template| template.group.as_ref()));
    let password = given.and_then(|given| given.password_file.as_ref());
    let password = password.or(template.and_then(|template| template.password_file.as_ref())).cloned();
    let legacy = given.and_then(|given| given.legacy).or(template.and_then(|template| template.legacy));
    JobFile {
        part,
        legacy: legacy.unwrap_or(false),
        // A path that would be too long with these letters has none, and then a password must be named.
        password_file: password.or_else(|| format!("{path}.password").parse().ok()).filter(|_| part.has_password()),
        path,
        mode: mode.unwrap_or_else(|| default_mode(part)),
        owner: owner.cloned().unwrap_or_else(superuser),
        group: group.cloned().unwrap_or_else(superuser),
        root,
    }
}

fn default_mode(part: Part) -> FileMode {
    let bits = if part.is_secret() { 0o600 } else { 0o644 };
    FileMode::from_bits(bits).expect("both are plain permission bits")
}

fn superuser() -> Account {
    "root".parse().expect("the constant is an account")
}
