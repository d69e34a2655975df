"""Running a selector: SEAL's loop, scoring, rankings and selections as tables, their diagnosis."""
