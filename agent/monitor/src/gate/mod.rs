//! May it be cut over? Conditions, where their figures come from, and the answer.
