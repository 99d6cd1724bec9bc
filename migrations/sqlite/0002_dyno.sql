-- Only keeps the two back-ends at the same version: a file has no dynos to register. A lease is a lock of
-- the operating system, and nobody waits for a successor.
SELECT 1;
