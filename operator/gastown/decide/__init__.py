"""Pure decisions, a module per question: what was seen goes in, the actions wanted come out; the caller brings the clock."""
