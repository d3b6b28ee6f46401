-- saved.db, with all else, as version 0.1 made it over HTTP.
BEGIN TRANSACTION;
CREATE TABLE documents (
	number INTEGER NOT NULL, 
	organisation VARCHAR(128) NOT NULL, 
	area VARCHAR(32) NOT NULL, 
	id VARCHAR(128) NOT NULL, 
	who VARCHAR(64) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	updated_by VARCHAR(64) NOT NULL, 
	version INTEGER NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (organisation, area, id)
);
INSERT INTO "documents" VALUES(1,'tailrace','annotations','ann_UgxHXdyq4gGxqBVv5fGX','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.009341Z','2026-11-29T10:11:15.014884Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',2,'{"type": "deploy", "datasets": ["logs"], "time": "2026-03-01T10:00:00Z", "title": "changed", "description": "", "url": ""}');
INSERT INTO "documents" VALUES(2,'tailrace','dashboards','requests','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.022132Z','2026-11-29T10:11:15.026235Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',2,'{"dashboard": {"name": "Requests again", "owner": "X-AXIOM-EVERYONE", "description": "\"quoted\" ''twice''\n;", "charts": [{"id": "a", "type": "TimeSeries", "query": {"apl": "print 1"}, "config": {"exact": 9007199254740993, "share": 0.1, "none": null, "empty": {}, "list": [], "yes": true}}], "layout": [], "refreshTime": 60, "schemaVersion": 2, "timeWindowStart": "qr-now-1h", "timeWindowEnd": "qr-now"}}');
INSERT INTO "documents" VALUES(3,'tailrace','starred queries','052bd126-83d3-43f3-b3ef-26a4f6d7476c','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.029466Z','2026-11-29T10:11:15.029466Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"kind": "apl", "name": "errors", "who": "9c806b18-b5e2-4235-a8fe-9bf058e16b1a", "dataset": "logs", "query": {"apl": "[''logs''] | where status >= 500", "startTime": "now-1h"}, "metadata": {"a": "b"}}');
INSERT INTO "documents" VALUES(4,'tailrace','views','85a80d4f-372e-4525-819e-834f6560e086','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.048177Z','2026-11-29T10:11:15.048177Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"name": "errors", "aplQuery": "[''logs''] | where level == ''error''", "description": "d", "datasets": ["logs"], "reads": ["logs"]}');
INSERT INTO "documents" VALUES(5,'tailrace','notifiers','notify_BxmcC9Y4iOm6vL5Ycywe','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.110239Z','2026-11-29T10:11:15.110239Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"name": "hook", "kind": "webhook", "properties": {"url": "http://127.0.0.1:32929/hook"}, "disabled_until": null}');
INSERT INTO "documents" VALUES(6,'tailrace','notifiers','notify_VYuTWFqvd1SAFEBzaAEw','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.144025Z','2026-11-29T10:11:15.144025Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"name": "gone", "kind": "webhook", "properties": {"url": "http://127.0.0.1:1/gone"}, "disabled_until": null}');
INSERT INTO "documents" VALUES(7,'neighbours','notifiers','notify_uI18vYDKx4CVR9A7WnAK','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.161663Z','2026-11-29T10:11:15.161663Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"name": "theirs", "kind": "webhook", "properties": {"url": "http://127.0.0.1:1/"}, "disabled_until": null}');
INSERT INTO "documents" VALUES(8,'tailrace','monitors','mon_NGcjTGp9DzF4frDaaRF7','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.421264Z','2026-11-29T10:11:15.421264Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"monitor": {"name": "Errors", "type": "Threshold", "description": "", "apl_query": "logs | where status >= 500 | summarize count() by level", "mpl_query": "", "column_name": "", "operator": "Above", "threshold": 1.0, "interval_minutes": 60, "range_minutes": 5, "second_delay": 0, "alert_on_no_data": false, "resolvable": false, "notify_by_group": false, "notify_every_run": false, "skip_resolved": false, "disabled": false, "disabled_until": null, "compare_days": 0, "tolerance": 0.0, "trigger_from_n_runs": 0, "trigger_after_n_positive_results": 0, "notifier_ids": ["notify_BxmcC9Y4iOm6vL5Ycywe", "notify_VYuTWFqvd1SAFEBzaAEw"]}, "unlimited": true, "datasets": [], "audit_log": false, "views": true, "named_views": []}');
INSERT INTO "documents" VALUES(9,'tailrace','monitors','mon_dPvn3vz7tZwfnHBHJvIK','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.438657Z','2026-11-29T10:11:15.438657Z','9c806b18-b5e2-4235-a8fe-9bf058e16b1a',1,'{"monitor": {"name": "Quiet", "type": "Threshold", "description": "", "apl_query": "logs | summarize count()", "mpl_query": "", "column_name": "", "operator": "Below", "threshold": 0.0, "interval_minutes": 60, "range_minutes": 5, "second_delay": 0, "alert_on_no_data": false, "resolvable": false, "notify_by_group": false, "notify_every_run": false, "skip_resolved": false, "disabled": false, "disabled_until": null, "compare_days": 0, "tolerance": 0.0, "trigger_from_n_runs": 0, "trigger_after_n_positive_results": 0, "notifier_ids": ["notify_BxmcC9Y4iOm6vL5Ycywe"]}, "unlimited": true, "datasets": [], "audit_log": false, "views": true, "named_views": []}');
CREATE TABLE field_notes (
	dataset VARCHAR(128) NOT NULL, 
	name VARCHAR(1024) NOT NULL, 
	unit VARCHAR(64) NOT NULL, 
	hidden BOOLEAN NOT NULL, 
	description TEXT NOT NULL, 
	PRIMARY KEY (dataset, name)
);
INSERT INTO "field_notes" VALUES('logs','took','ms',1,'how long');
CREATE TABLE former_map_fields (
	dataset VARCHAR(128) NOT NULL, 
	name VARCHAR(1024) NOT NULL, 
	PRIMARY KEY (dataset, name)
);
INSERT INTO "former_map_fields" VALUES('logs','former');
CREATE TABLE map_fields (
	number INTEGER NOT NULL, 
	dataset VARCHAR(128) NOT NULL, 
	name VARCHAR(1024) NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (dataset, name)
);
INSERT INTO "map_fields" VALUES(1,'logs','tags');
CREATE TABLE monitor_history (
	number INTEGER NOT NULL, 
	monitor VARCHAR(128) NOT NULL, 
	at_ns BIGINT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	check_id VARCHAR(64) NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "monitor_history" VALUES(1,'mon_NGcjTGp9DzF4frDaaRF7',1795947075425280157,'open','36485ad38a1db9eef4d4','{"text": "level=error: Current value of 3 is above the threshold value of 1", "group": "", "value": 3.0, "notifier": "", "attempts": 0}');
INSERT INTO "monitor_history" VALUES(2,'mon_NGcjTGp9DzF4frDaaRF7',1795947077257633211,'delivered','36485ad38a1db9eef4d4','{"text": "Open to hook (webhook)", "group": "", "value": null, "notifier": "notify_BxmcC9Y4iOm6vL5Ycywe", "attempts": 1}');
CREATE TABLE monitor_outbox (
	number INTEGER NOT NULL, 
	monitor VARCHAR(128) NOT NULL, 
	organisation VARCHAR(128) NOT NULL, 
	notifier VARCHAR(128) NOT NULL, 
	due_ns BIGINT NOT NULL, 
	attempts INTEGER NOT NULL, 
	message JSON NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "monitor_outbox" VALUES(2,'mon_NGcjTGp9DzF4frDaaRF7','tailrace','notify_VYuTWFqvd1SAFEBzaAEw',1795947087252307637,1,'{"monitor_id": "mon_NGcjTGp9DzF4frDaaRF7", "title": "Errors", "description": "", "action": "Open", "body": "level=error: Current value of 3 is above the threshold value of 1", "value": 3.0, "event": null, "start_ns": 1795946775425280157, "end_ns": 1795947075425280157, "at_ns": 1795947075425280157, "check_id": "36485ad38a1db9eef4d4", "still_open": 1, "labels": [["level", "error"]]}');
CREATE TABLE monitor_runs (
	monitor VARCHAR(128) NOT NULL, 
	organisation VARCHAR(128) NOT NULL, 
	next_ns BIGINT NOT NULL, 
	last_ns BIGINT NOT NULL, 
	error TEXT NOT NULL, 
	state JSON NOT NULL, 
	PRIMARY KEY (monitor)
);
INSERT INTO "monitor_runs" VALUES('mon_NGcjTGp9DzF4frDaaRF7','tailrace',1795950675425280157,1795947075425280157,'','{"groups": {"": {"recent": [true], "check_id": "36485ad38a1db9eef4d4"}}, "matched": {}, "until_ns": 1795947075425280157, "timeless": false}');
INSERT INTO "monitor_runs" VALUES('mon_dPvn3vz7tZwfnHBHJvIK','tailrace',1795950675447733434,1795947075447733434,'','{"groups": {}, "matched": {}, "until_ns": 1795947075447733434, "timeless": false}');
CREATE TABLE query_history (
	number INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	dataset VARCHAR(128) NOT NULL, 
	who VARCHAR(64) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	"query" JSON NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (id)
);
INSERT INTO "query_history" VALUES(1,'ff4253ce-aaa3-45e4-b199-88845803c4c7','apl','logs','9c806b18-b5e2-4235-a8fe-9bf058e16b1a','2026-11-29T10:11:15.358340Z','{"apl": "[''logs''] | count", "startTime": null, "endTime": null, "cursor": null, "includeCursor": null, "includeCursorField": null, "defaultLimit": null, "defaultOrder": null, "maxBinAutoGroups": null, "variables": null}');
CREATE TABLE virtual_fields (
	number INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	dataset VARCHAR(128) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	expression TEXT NOT NULL, 
	description TEXT NOT NULL, 
	type VARCHAR(64) NOT NULL, 
	unit VARCHAR(64) NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (dataset, name), 
	UNIQUE (id)
);
INSERT INTO "virtual_fields" VALUES(1,'d2939b29-f498-4a2b-9239-af0a0c1dffc5','logs','slow','took > 1','d','boolean','');
INSERT INTO "virtual_fields" VALUES(2,'3dcf98c4-d8c7-4c3e-a54b-a4f2236b3506','logs','second','took * 2','','','');
CREATE INDEX ix_query_history_who ON query_history (who);
CREATE INDEX ix_documents_organisation ON documents (organisation);
CREATE INDEX ix_monitor_history_monitor ON monitor_history (monitor);
CREATE INDEX ix_monitor_outbox_monitor ON monitor_outbox (monitor);
CREATE INDEX ix_monitor_outbox_due_ns ON monitor_outbox (due_ns);
COMMIT;
