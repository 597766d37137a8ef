//! Services get what the manifest asks for: files, keys and names, from the embedded CA and from a real step-ca.

mod files;
mod keys;
mod names;
mod neighbours;
mod roots;
mod several;
mod step_ca;
