"""A sweep without ray: the desk, trial records, the folder, the plan."""
