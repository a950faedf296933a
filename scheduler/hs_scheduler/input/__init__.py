"""Where tasks come from: task lines, and the feed that turns them and NEW rows into bundles."""
