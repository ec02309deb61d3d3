//! What was measured, kept in bounded space, and handed out as windows.
