//! What people are to be told, kept until a channel took it.
