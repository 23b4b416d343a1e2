-- Codes for a new password that were written to their person, apart from those an administrator gave out.
alter table password_resets add column is_mailed boolean not null default false;
