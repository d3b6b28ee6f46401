-- access.db, with users, tokens and keys, as version 0.1 made it over HTTP.
BEGIN TRANSACTION;
CREATE TABLE access_version (
	version_num VARCHAR(32) NOT NULL, 
	PRIMARY KEY (version_num)
);
INSERT INTO "access_version" VALUES('0004');
CREATE TABLE changes (
	number BIGINT NOT NULL
);
INSERT INTO "changes" VALUES(12);
CREATE TABLE group_members (
	group_id VARCHAR(64) NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	PRIMARY KEY (group_id, user_id), 
	FOREIGN KEY(group_id) REFERENCES user_groups (id), 
	FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "group_members" VALUES('a6958972-9c1e-4189-9806-18bf6e9eabf3','f5bc71a3-686b-4e51-b276-d48b2f3b5a0f');
CREATE TABLE group_roles (
	group_id VARCHAR(64) NOT NULL, 
	role VARCHAR(64) NOT NULL, 
	PRIMARY KEY (group_id, role), 
	FOREIGN KEY(group_id) REFERENCES user_groups (id)
);
INSERT INTO "group_roles" VALUES('a6958972-9c1e-4189-9806-18bf6e9eabf3','29cc2102-406b-4342-a071-f3724c75845a');
CREATE TABLE keys (
	id VARCHAR(64) NOT NULL, 
	dialect VARCHAR(16) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	hash BLOB NOT NULL, 
	tail_hash BLOB, 
	user_id VARCHAR(64) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32), 
	datasets JSON NOT NULL, 
	destination VARCHAR(512) NOT NULL, 
	organisation VARCHAR(128) DEFAULT 'tailrace' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (hash), 
	FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "keys" VALUES('466db1eb-e685-4c91-a166-bd60241e0c26','baselime','baselime',X'E5CAA1A0F8021E9458ECAB17D4F5ACCE5D6EC11CA7036844BBC22F4677DDBD09',NULL,'9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:14.862136Z',NULL,'["logs"]','','tailrace');
INSERT INTO "keys" VALUES('8dc727c5-59c4-46f2-9647-324b295aa4ef','datamix','datamix',X'5D8183ACB3D1603041C01E3DBBDCC1F3FC295670C8915DD813ECA98237EBCA26',NULL,'9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:14.868401Z',NULL,'["mixbook.shop.logs"]','mixbook.shop.logs','tailrace');
INSERT INTO "keys" VALUES('4dccd5db-b001-43fa-a1ae-803febc3af25','moesif','moesif',X'E63ED9AD8963BFE9BA1CC17EB481F9611AFC80A26D4B120308AE316D6A14DC57',X'71042CA64B683BB015A38FB97B210CC6C6EAD95FD7AEC66B1E642F260E92EACC','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:14.914417Z',NULL,'["logs"]','','tailrace');
CREATE TABLE memberships (
	user_id VARCHAR(64) NOT NULL, 
	organisation VARCHAR(128) NOT NULL, 
	role VARCHAR(64) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (user_id, organisation), 
	FOREIGN KEY(user_id) REFERENCES users (id), 
	FOREIGN KEY(organisation) REFERENCES organisations (id)
);
INSERT INTO "memberships" VALUES('9c806b18-b5e2-4235-a8fe-9bf058e16b1a','tailrace','owner','2026-11-29T10:11:13.695616Z');
INSERT INTO "memberships" VALUES('9c806b18-b5e2-4235-a8fe-9bf058e16b1a','neighbours','owner','2026-11-29T10:11:14.706106Z');
INSERT INTO "memberships" VALUES('f5bc71a3-686b-4e51-b276-d48b2f3b5a0f','tailrace','user','2026-11-29T10:11:14.947160Z');
INSERT INTO "memberships" VALUES('9b11d47a-e5d9-496d-8d2b-bc01fbd4f862','tailrace','29cc2102-406b-4342-a071-f3724c75845a','2026-11-29T10:11:14.981052Z');
CREATE TABLE organisations (
	id VARCHAR(128) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "organisations" VALUES('tailrace','Tailrace','1970-01-01T00:00:00.000000Z');
INSERT INTO "organisations" VALUES('neighbours','Neighbours','2026-11-29T10:11:14.706106Z');
CREATE TABLE roles (
	id VARCHAR(64) NOT NULL, 
	organisation VARCHAR(128) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	description VARCHAR(4096) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	dataset_capabilities JSON NOT NULL, 
	view_capabilities JSON NOT NULL, 
	org_capabilities JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT roles_organisation_name UNIQUE (organisation, name), 
	FOREIGN KEY(organisation) REFERENCES organisations (id)
);
INSERT INTO "roles" VALUES('29cc2102-406b-4342-a071-f3724c75845a','tailrace','reader','','2026-11-29T10:11:14.938057Z','{"logs": {"query": ["read"]}}','{"errors": {"query": ["read"]}}','{"dashboards": ["read"]}');
CREATE TABLE tokens (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	description VARCHAR(4096) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	hash BLOB NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32), 
	dataset_capabilities JSON NOT NULL, 
	org_capabilities JSON NOT NULL, 
	organisation VARCHAR(128), 
	PRIMARY KEY (id), 
	UNIQUE (hash), 
	FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "tokens" VALUES('110afe2b-a53a-4855-b171-92afc8417266','owner','','personal',X'9099B56918D8D1D920806D1F46D1D113AA15CAD6D9F727F279A58D6400CB587A','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:13.697215Z',NULL,'{}','{}',NULL);
INSERT INTO "tokens" VALUES('a95d615f-7448-4141-8c1e-58e59249e24a','sender','zwei
Zeilen','api',X'777A25D39F7374ED21B6F7746A85551ACA46F9D0FA47616538CC0EFE351FC00D','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:14.759340Z','2099-01-31T00:00:00Z','{"logs": {"ingest": ["create"], "query": ["read"]}}','{}','tailrace');
INSERT INTO "tokens" VALUES('1ccedd3c-d229-46ea-88fc-370b70b94269','manager','','api',X'317ABC70E6CFFBA5E7BA9E0F8E7491A0CD69FBED2FE60132413F8F31B55C6DEA','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:14.793978Z',NULL,'{}','{"monitors": ["create", "read"]}','neighbours');
INSERT INTO "tokens" VALUES('4b554800-7e8f-42ee-9390-17623097c152','laptop','','personal',X'7814C0F0B036FA3EA36B3541D91AC78A6D7497B5F021F58876B3ABFEC2FBE6B0','f5bc71a3-686b-4e51-b276-d48b2f3b5a0f','2026-11-29T10:11:14.952946Z',NULL,'{}','{}',NULL);
CREATE TABLE user_groups (
	id VARCHAR(64) NOT NULL, 
	organisation VARCHAR(128) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	description VARCHAR(4096) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT user_groups_organisation_name UNIQUE (organisation, name), 
	FOREIGN KEY(organisation) REFERENCES organisations (id)
);
INSERT INTO "user_groups" VALUES('a6958972-9c1e-4189-9806-18bf6e9eabf3','tailrace','on call','d','2026-11-29T10:11:15.002799Z');
CREATE TABLE users (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	email VARCHAR(256) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "users" VALUES('9c806b18-b5e2-4235-a8fe-9bf058e16b1a','Owner','','2026-11-29T10:11:13.695616Z');
INSERT INTO "users" VALUES('f5bc71a3-686b-4e51-b276-d48b2f3b5a0f','Ada Løvelace','ada@example.com','2026-11-29T10:11:14.946983Z');
INSERT INTO "users" VALUES('9b11d47a-e5d9-496d-8d2b-bc01fbd4f862','Bo','bo@example.com','2026-11-29T10:11:14.980874Z');
COMMIT;
