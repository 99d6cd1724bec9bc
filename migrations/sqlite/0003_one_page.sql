-- A SQLite file belongs to one machine and one running process: there is nobody to publish to, so it has
-- neither the status nor the control table of migrations/postgres. The version is the same all the same.
SELECT 1;
