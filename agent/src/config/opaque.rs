//! `Debug` for settings: a type's name and no field.
//!
//! Any text of a configuration may be what a secret's reference was resolved to, whichever field it stands in. So no type
//! that holds such text derives `Debug`; `config/tests.rs` prints every one with a canary in it.

/// Debug prints that show no field.
macro_rules! opaque_debug {
    ($($name:ident),* $(,)?) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

pub(crate) use opaque_debug;
