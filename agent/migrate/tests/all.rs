//! The databases against real servers. A server that is missing fails the test that needs it.

mod support;
