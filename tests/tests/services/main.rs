//! Services get what the manifest asks for: files, keys and names, from the embedded CA and from a real step-ca.

mod daemons;
mod debian_recipes;
mod discovered;
mod files;
mod imported;
mod keys;
mod keystores;
mod large_daemons;
mod looked_at;
mod names;
mod neighbours;
mod odd_files;
mod roots;
mod several;
mod step_ca;
