BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE api_keys (
	id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	hint VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	revoked_at BIGINT, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_subscriber_id FOREIGN KEY(subscriber_id) REFERENCES subscribers (id), 
	CONSTRAINT uq_api_keys_sha256 UNIQUE (sha256)
);
INSERT INTO "api_keys" VALUES('key_019ab697e8007000a90a9ddb221f79cb','sub_019ab697e800700098cb9b3f98e91a00','130c043dbdb16bf37b90ac3896b10a4349740f7b2bce8b92b0187649a4cca7b2','rk_EPAd9H9',1764000000000000,NULL);
INSERT INTO "api_keys" VALUES('key_019ab697e800700091b85fc85b066fa0','sub_019ab697e800700098cb9b3f98e91a00','55641d992710335e9f113f9dc86ff8fb13bed8960bce70f7ace1380caa5e0855','rk_FrV3wSo',1764000000000000,1764000000000000);
CREATE TABLE "attempts" (
	delivery_id VARCHAR(40) NOT NULL, 
	number INTEGER NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	started_at BIGINT NOT NULL, 
	duration BIGINT, 
	status_code INTEGER, 
	error VARCHAR(32), 
	detail VARCHAR(500), 
	response_body TEXT, 
	CONSTRAINT pk_attempts PRIMARY KEY (delivery_id, number)
);
INSERT INTO "attempts" VALUES('msg_019ab698d648700087709288ae6e512b',1,'att_019ab698d6487000b8a6ebcb91bb2d4b',1764000061000000,1000,200,NULL,NULL,'ok');
INSERT INTO "attempts" VALUES('msg_019ab698d6487000aaf8fa0819f12fb0',1,'att_019ab698d6487000b784c3516df16d1e',1764000061000000,1000,200,NULL,NULL,'ok');
INSERT INTO "attempts" VALUES('msg_019ab698d648700092f3db75c0695cb8',1,'att_019ab698d6487000a1f4aa9f77aad322',1764000061000000,1000,200,NULL,NULL,'ok');
INSERT INTO "attempts" VALUES('msg_019ab698d64870008e7a3f2d40999bb1',1,'att_019ab698d6487000b42a3f9350db3cad',1764000061000000,1000,200,NULL,NULL,'ok');
INSERT INTO "attempts" VALUES('msg_019ab698d6487000bd6a849450dfb70a',1,'att_019ab699c49070008035986e3e9c4907',1764000122000000,NULL,NULL,'lost','the process that sent this ended before the answer was recorded',NULL);
CREATE TABLE bulk_retries (
	id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	endpoint_id VARCHAR(40), 
	to_id VARCHAR(40) NOT NULL, 
	after_id VARCHAR(40) NOT NULL, 
	retried INTEGER NOT NULL, 
	due_at BIGINT, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_bulk_retries PRIMARY KEY (id), 
	CONSTRAINT fk_bulk_retries_subscriber_id FOREIGN KEY(subscriber_id) REFERENCES subscribers (id)
);
INSERT INTO "bulk_retries" VALUES('bulk_019ab699c8787000b8417d0c77c7378d','sub_019ab697e800700098cb9b3f98e91a00','failed',NULL,'msg_019ab699c87870008000000000000000','msg_00000000000070008000000000000000',0,1764000123000000,1764000123000000);
CREATE TABLE counters (
	name VARCHAR(64) NOT NULL, 
	label VARCHAR(64) NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_counters PRIMARY KEY (name, label)
);
INSERT INTO "counters" VALUES('secret_rotations','',1);
INSERT INTO "counters" VALUES('relay_watches_registered_total','',7);
CREATE TABLE "deliveries" (
	id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	watch_id VARCHAR(40), 
	endpoint_id VARCHAR(40) NOT NULL, 
	event VARCHAR(32) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	due_at BIGINT, 
	solo_at BIGINT, 
	token VARCHAR(32), 
	attempt_count INTEGER NOT NULL, 
	lost_count INTEGER NOT NULL, 
	since BIGINT NOT NULL, 
	content TEXT, 
	step INTEGER NOT NULL, 
	cancel_requested SMALLINT NOT NULL, 
	payload_bytes BIGINT NOT NULL, 
	last_error VARCHAR(500), 
	created_at BIGINT NOT NULL, 
	delivered_at BIGINT, 
	finished_at BIGINT, 
	CONSTRAINT pk_deliveries PRIMARY KEY (id), 
	CONSTRAINT ck_deliveries_solo CHECK (due_at IS NULL OR solo_at IS NULL), 
	CONSTRAINT ck_deliveries_delivered CHECK ((status = 'delivered') <= (delivered_at IS NOT NULL)), 
	CONSTRAINT ck_deliveries_finished CHECK ((status = 'pending') = (finished_at IS NULL)), 
	CONSTRAINT ck_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed', 'cancelled')), 
	CONSTRAINT ck_deliveries_due CHECK ((status = 'pending') = (due_at IS NOT NULL OR solo_at IS NOT NULL)), 
	CONSTRAINT ck_deliveries_event CHECK (event IN ('ai_job.success', 'ai_job.fail', 'ai_job.missing', 'watch.expired', 'endpoint.disabled', 'relay.test')), 
	CONSTRAINT ck_deliveries_claim CHECK (token IS NULL OR status = 'pending')
);
INSERT INTO "deliveries" VALUES('msg_019ab698d648700087709288ae6e512b','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab697e8007000afa721743e7f90a1','ep_019ab697e8007000a52c87bf195d2401','watch.expired','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000);
INSERT INTO "deliveries" VALUES('msg_019ab698d6487000aaf8fa0819f12fb0','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab698d6487000a6dd945ecf3a0050','ep_019ab697e8007000a52c87bf195d2401','ai_job.fail','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000);
INSERT INTO "deliveries" VALUES('msg_019ab698d64870008e7a3f2d40999bb1','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab698d6487000af13850e1e2046fc','ep_019ab697e8007000a52c87bf195d2401','ai_job.missing','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000);
INSERT INTO "deliveries" VALUES('msg_019ab698d648700092f3db75c0695cb8','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab698d6487000a2f3be70bcf65751','ep_019ab698d6487000bea7299d520f3900','ai_job.success','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000);
INSERT INTO "deliveries" VALUES('msg_019ab698d6487000bd6a849450dfb70a','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab698d648700097736d3a528cc95b','ep_019ab698d6487000916bbca0c7e1e9c1','ai_job.success','pending',1764000182000000,NULL,'03e1e82b7d6edb482cbea87c5cb9c24c',2,1,1764000061000000,NULL,0,0,2,NULL,1764000061000000,NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_019ab699c49070008a99227280009296','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c490700097701ad556838d86','ep_019ab699c4907000b55ca192408c01b4','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_019ab699c490700089d661bfb779aa1b','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c4907000b4edd69402f5af4f','ep_019ab699c4907000b55ca192408c01b4','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_019ab699c49070009bc6ed51803d51eb','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c4907000bd8141ea99fdf282','ep_019ab699c490700080174bb9c58d469b','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_019ab699c49070008fef631c577ff75f','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c4907000a17d64b2a91133a4','ep_019ab699c4907000a6af5cb6547e3d1b','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_019ab699c49070008093460afb486033','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c4907000a61a917cad5d715a','ep_019ab699c49070008e094980ccb33957','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_019ab699c4907000b362acffc7c7574f','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c49070009e193eaa7a079956','ep_019ab699c4907000b274233b2981e0d3','ai_job.success','cancelled',NULL,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,1764000122000000);
INSERT INTO "deliveries" VALUES('msg_019ab699c4907000baea83ecaa0126c8','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c49070009182512a004ef224','ep_019ab699c49070008888132ba64e6fd8','ai_job.success','failed',NULL,NULL,NULL,0,0,1764000122000000,NULL,3,0,2,'500',1764000122000000,NULL,1764000122000000);
INSERT INTO "deliveries" VALUES('msg_019ab699c4907000acd3fe4c1c5752c5','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c4907000a7d0b1cb7b0bda40','ep_019ab699c49070008888132ba64e6fd8','ai_job.success','failed',NULL,NULL,NULL,0,0,1764000122000000,NULL,3,0,2,'500',1764000122000000,NULL,1764000122000000);
INSERT INTO "deliveries" VALUES('msg_019ab699c49070009c6ae34a921f91e8','sub_019ab697e800700098cb9b3f98e91a00','wat_019ab699c4907000ba25d3ab28f0f8f8','ep_019ab699c49070008888132ba64e6fd8','ai_job.success','failed',NULL,NULL,NULL,0,0,1764000122000000,NULL,3,0,2,'500',1764000122000000,NULL,1764000122000000);
INSERT INTO "deliveries" VALUES('msg_019ab699c8787000978add958d24ec0d','sub_019ab697e800700098cb9b3f98e91a00',NULL,'ep_019ab697e8007000885165a51ba91736','relay.test','pending',NULL,1764000123000000,NULL,0,0,1764000123000000,'{"endpoint_id": "ep_019ab697e8007000885165a51ba91736", "message": "A test from Relay: this endpoint can be reached."}',0,0,0,NULL,1764000123000000,NULL,NULL);
CREATE TABLE delivery_listings (
	delivery_id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	endpoint_id VARCHAR(40) NOT NULL, 
	watch_id VARCHAR(40), 
	CONSTRAINT pk_delivery_listings PRIMARY KEY (delivery_id), 
	CONSTRAINT fk_delivery_listings_delivery_id FOREIGN KEY(delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE, 
	CONSTRAINT fk_delivery_listings_subscriber_id FOREIGN KEY(subscriber_id) REFERENCES subscribers (id), 
	CONSTRAINT fk_delivery_listings_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (id), 
	CONSTRAINT fk_delivery_listings_watch_id FOREIGN KEY(watch_id) REFERENCES watches (id)
);
INSERT INTO "delivery_listings" VALUES('msg_019ab698d648700087709288ae6e512b','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab697e8007000a52c87bf195d2401','wat_019ab697e8007000afa721743e7f90a1');
INSERT INTO "delivery_listings" VALUES('msg_019ab698d6487000aaf8fa0819f12fb0','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab697e8007000a52c87bf195d2401','wat_019ab698d6487000a6dd945ecf3a0050');
INSERT INTO "delivery_listings" VALUES('msg_019ab698d64870008e7a3f2d40999bb1','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab697e8007000a52c87bf195d2401','wat_019ab698d6487000af13850e1e2046fc');
INSERT INTO "delivery_listings" VALUES('msg_019ab698d648700092f3db75c0695cb8','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab698d6487000bea7299d520f3900','wat_019ab698d6487000a2f3be70bcf65751');
INSERT INTO "delivery_listings" VALUES('msg_019ab698d6487000bd6a849450dfb70a','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab698d6487000916bbca0c7e1e9c1','wat_019ab698d648700097736d3a528cc95b');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c49070008a99227280009296','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c4907000b55ca192408c01b4','wat_019ab699c490700097701ad556838d86');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c490700089d661bfb779aa1b','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c4907000b55ca192408c01b4','wat_019ab699c4907000b4edd69402f5af4f');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c49070009bc6ed51803d51eb','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c490700080174bb9c58d469b','wat_019ab699c4907000bd8141ea99fdf282');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c49070008fef631c577ff75f','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c4907000a6af5cb6547e3d1b','wat_019ab699c4907000a17d64b2a91133a4');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c49070008093460afb486033','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c49070008e094980ccb33957','wat_019ab699c4907000a61a917cad5d715a');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c4907000b362acffc7c7574f','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c4907000b274233b2981e0d3','wat_019ab699c49070009e193eaa7a079956');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c4907000baea83ecaa0126c8','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c49070008888132ba64e6fd8','wat_019ab699c49070009182512a004ef224');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c4907000acd3fe4c1c5752c5','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c49070008888132ba64e6fd8','wat_019ab699c4907000a7d0b1cb7b0bda40');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c49070009c6ae34a921f91e8','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab699c49070008888132ba64e6fd8','wat_019ab699c4907000ba25d3ab28f0f8f8');
INSERT INTO "delivery_listings" VALUES('msg_019ab699c8787000978add958d24ec0d','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab697e8007000885165a51ba91736',NULL);
CREATE TABLE endpoints (
	id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	url VARCHAR(2048) NOT NULL, 
	url_key VARCHAR(64), 
	description VARCHAR(500), 
	headers_sealed TEXT, 
	status VARCHAR(16) NOT NULL, 
	disabled_reason VARCHAR(40), 
	max_in_flight INTEGER NOT NULL, 
	rate_per_second DOUBLE, 
	ready_at BIGINT, 
	not_before BIGINT NOT NULL, 
	proven SMALLINT NOT NULL, 
	allowance INTEGER NOT NULL, 
	failure_streak INTEGER NOT NULL, 
	failing_since BIGINT, 
	opened_at BIGINT, 
	open_until BIGINT NOT NULL, 
	probe_count INTEGER NOT NULL, 
	recovered_at BIGINT, 
	held_at BIGINT, 
	notices SMALLINT NOT NULL, 
	notice_at BIGINT, 
	last_error VARCHAR(500), 
	created_at BIGINT NOT NULL, 
	deleted_at BIGINT, blocked_since BIGINT, 
	CONSTRAINT pk_endpoints PRIMARY KEY (id), 
	CONSTRAINT ck_endpoints_held CHECK ((status = 'active') = (held_at IS NULL)), 
	CONSTRAINT ck_endpoints_ready CHECK (ready_at IS NULL OR (status = 'active' AND deleted_at IS NULL)), 
	CONSTRAINT ck_endpoints_status CHECK (status IN ('active', 'paused', 'disabled')), 
	CONSTRAINT ck_endpoints_deleted CHECK ((deleted_at IS NULL) = (url_key IS NOT NULL)), 
	CONSTRAINT ck_endpoints_pace CHECK (allowance >= 1 AND max_in_flight >= 1), 
	CONSTRAINT fk_endpoints_subscriber_id FOREIGN KEY(subscriber_id) REFERENCES subscribers (id), 
	CONSTRAINT uq_endpoints_subscriber_id_url_key UNIQUE (subscriber_id, url_key)
);
INSERT INTO "endpoints" VALUES('ep_019ab697e8007000885165a51ba91736','sub_019ab697e800700098cb9b3f98e91a00','https://own.example/hook','025695262a13903ec943486532d85c46b10f5889d1ea62a77d881cf407f60b1a',NULL,'9dd5b77d:U3srY0HV1o0yG+x+p9sW8s+3QXRq+Zcx3ftTvxGgK2jMz9qu75S7TkFHhCPGpA1uEmI9b3o2Iac=','active',NULL,10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,NULL,1,NULL,NULL,1764000000000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab697e8007000a52c87bf195d2401','sub_019ab697e800700098cb9b3f98e91a00','https://example.com/hook','19f1352238b915338c91b6a9fdd2dd4be99a13c18e95bbfbf1443ee01fb616b6',NULL,NULL,'active',NULL,10,NULL,NULL,0,1,5,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000000000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab698d6487000bea7299d520f3900','sub_019ab697e800700098cb9b3f98e91a00','https://done.example/hook','8d1f3f9233ccd7927f783dccec3bc4e665c20e292fa007ab2debad982301df8e',NULL,NULL,'active',NULL,10,NULL,NULL,0,1,3,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000061000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab698d6487000916bbca0c7e1e9c1','sub_019ab697e800700098cb9b3f98e91a00','https://lost.example/hook','87ca69fd196bf4397759f331d1d6e2f31d8b9e87bbf131f1890016b6b9a86997',NULL,NULL,'active',NULL,10,NULL,1764000182000000,0,0,2,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000061000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab699c4907000b55ca192408c01b4','sub_019ab697e800700098cb9b3f98e91a00','https://pending.example/hook','c28fe1bba26fb34b5bc839e5e831af8354ee82b3b759f179d884323b5484aaff',NULL,NULL,'active',NULL,10,NULL,1764000122000000,0,0,2,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000122000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab699c490700080174bb9c58d469b','sub_019ab697e800700098cb9b3f98e91a00','https://paused.example/hook','b82e443e6a9af761825b11a4ddbdb0ebb2d5753a7c8976e0af650e345becb814',NULL,NULL,'paused',NULL,10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,1764000122000000,0,NULL,NULL,1764000122000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab699c4907000a6af5cb6547e3d1b','sub_019ab697e800700098cb9b3f98e91a00','https://gone.example/hook','343742e90fa43bdfa63254082d75b0f5b78fb81106403056fd61c7e1a9bb0795',NULL,NULL,'disabled','gone',10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,1764000122000000,0,1764000122000000,NULL,1764000122000000,NULL,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab699c49070008e094980ccb33957','sub_019ab697e800700098cb9b3f98e91a00','https://open.example/hook','394a7e0164ae7ad3ace82c632d55cd8c979452fc17372a878e41f77df7b98052',NULL,NULL,'active',NULL,10,NULL,1764000132000000,0,0,1,10,1764000122000000,1764000122000000,1764000132000000,1,NULL,NULL,0,NULL,'500',1764000122000000,NULL,1764000122000000);
INSERT INTO "endpoints" VALUES('ep_019ab699c4907000b274233b2981e0d3','sub_019ab697e800700098cb9b3f98e91a00','https://deleted.example/hook',NULL,NULL,NULL,'disabled',NULL,10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,1764000122000000,0,NULL,NULL,1764000122000000,1764000122000000,NULL);
INSERT INTO "endpoints" VALUES('ep_019ab699c49070008888132ba64e6fd8','sub_019ab697e800700098cb9b3f98e91a00','https://failed.example/hook','8df19a0eaf058fea11696ab878b203a9e68fa1e993affa13da98023ab6b865b6',NULL,NULL,'active',NULL,10,NULL,1764000122000000,0,0,2,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000122000000,NULL,NULL);
CREATE TABLE idempotent_answers (
	"key" VARCHAR(64) NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	status INTEGER, 
	sealed SMALLINT NOT NULL, 
	answer TEXT, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_idempotent_answers PRIMARY KEY ("key")
);
INSERT INTO "idempotent_answers" VALUES('07c87fba554f6237d1c48d067bcdde390adef21f9c247cabccb7d915c3d61578','44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',201,0,'{"id": "wat_former"}',1764000123000000);
CREATE TABLE job_types (
	source VARCHAR(32) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	durations TEXT NOT NULL, 
	CONSTRAINT pk_job_types PRIMARY KEY (source, name)
);
INSERT INTO "job_types" VALUES('default','AIVideoTag','[12.5, 20.0]');
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	source VARCHAR(32) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	type TEXT, 
	code TEXT, 
	message TEXT, 
	media_id TEXT, 
	creation_time TEXT, 
	complete_time TEXT, 
	data TEXT, 
	data_bytes BIGINT NOT NULL, 
	data_is_json SMALLINT NOT NULL, 
	owner VARCHAR(40), 
	due_at BIGINT, 
	token VARCHAR(32), 
	attempt_count INTEGER NOT NULL, 
	lost_count INTEGER NOT NULL, 
	missing_count INTEGER NOT NULL, 
	polled_at BIGINT, 
	hinted_at BIGINT, 
	hint_polls INTEGER, 
	created_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT ck_jobs_finished CHECK ((status = 'open') = (finished_at IS NULL)), 
	CONSTRAINT ck_jobs_due CHECK (status = 'open' OR due_at IS NULL), 
	CONSTRAINT ck_jobs_status CHECK (status IN ('open', 'success', 'fail')), 
	CONSTRAINT ck_jobs_hint CHECK ((hinted_at IS NULL) = (hint_polls IS NULL)), 
	CONSTRAINT ck_jobs_owner CHECK (owner IS NULL OR due_at IS NOT NULL), 
	CONSTRAINT ck_jobs_claim CHECK (token IS NULL OR due_at IS NOT NULL), 
	CONSTRAINT uq_jobs_source_job_id UNIQUE (source, job_id)
);
INSERT INTO "jobs" VALUES(1,'default','former-expired','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000000000000,NULL);
INSERT INTO "jobs" VALUES(2,'default','former-cancelled','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,NULL);
INSERT INTO "jobs" VALUES(3,'default','former-failed','fail','AIMediaDNA','Some.Code','why',NULL,NULL,NULL,'{"VideoDNA":[]}',15,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,1764000061000000);
INSERT INTO "jobs" VALUES(4,'default','former-missing','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,NULL);
INSERT INTO "jobs" VALUES(5,'default','937f63418d638bcaa05c4ceec26bf422','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,1764000061000000);
INSERT INTO "jobs" VALUES(6,'default','d2ed922803e0b5773cb98e450219bf05','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,1764000061000000);
INSERT INTO "jobs" VALUES(7,'default','95c2a5c84c45374cf49e67c227dd577d','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(8,'default','c98a6dfa9bcc2201d4332fca8eba79d6','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(9,'default','2f5caf1719675f761dda853877950983','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(10,'default','f179960deb4d1bb4590bf6b340fa07c7','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(11,'default','813d229c2d12c9dd7d069c638e556e15','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(12,'default','39261bdbe9d73ceade8fbf68816de8a2','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(13,'default','former-deleted','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,NULL);
INSERT INTO "jobs" VALUES(14,'default','1016742bced0211b0e8e251a58c5eb56','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(15,'default','bc77d170c65e94f7dc41e7c46e081ab7','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(16,'default','f9f677a536ae22b083bd0c1d539493bf','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{"a":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000);
INSERT INTO "jobs" VALUES(17,'default','former-waiting','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'sub_019ab697e800700098cb9b3f98e91a00',1764000183000000,'tttttttttttttttttttttttttttttttt',1,0,0,1764000123000000,NULL,NULL,1764000123000000,NULL);
INSERT INTO "jobs" VALUES(18,'default','former-claimed','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'sub_019ab697e800700098cb9b3f98e91a00',1764000183000000,'tttttttttttttttttttttttttttttttt',1,0,0,1764000123000000,NULL,NULL,1764000123000000,NULL);
INSERT INTO "jobs" VALUES(19,'default','former-hinted','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'sub_019ab697e800700098cb9b3f98e91a00',1764000123000000,NULL,0,0,0,NULL,1764000123000000,0,1764000123000000,NULL);
CREATE TABLE poll_policies (
	source VARCHAR(32) NOT NULL, 
	refreshed_at BIGINT NOT NULL, 
	newest_job BIGINT NOT NULL, 
	new_jobs DOUBLE NOT NULL, 
	shares TEXT NOT NULL, 
	CONSTRAINT pk_poll_policies PRIMARY KEY (source)
);
INSERT INTO "poll_policies" VALUES('default',1764000123000000,19,0.0,'{}');
CREATE TABLE signing_secrets (
	id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	endpoint_id VARCHAR(40), 
	sealed TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT, 
	CONSTRAINT pk_signing_secrets PRIMARY KEY (id), 
	CONSTRAINT fk_signing_secrets_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (id), 
	CONSTRAINT fk_signing_secrets_subscriber_id FOREIGN KEY(subscriber_id) REFERENCES subscribers (id)
);
INSERT INTO "signing_secrets" VALUES('sec_019ab697e8007000bd52099757d9a8fa','sub_019ab697e800700098cb9b3f98e91a00',NULL,'9dd5b77d:B89PU61/FbvCum9QvBix1YLHtTXwvYiddXY2Tg0B44qNh/ZL9U0ammlE5JRVMPGH9yfzom/sHeHZ/JlLG7GCmaIzOWInXU//GY+CeuUf',1764000000000000,NULL);
INSERT INTO "signing_secrets" VALUES('sec_019ab697e8007000b69e2ea0dac3c32c','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab697e8007000885165a51ba91736','9dd5b77d:H2az8blYpO6RIxyVKyo1IkwT3S2IYZqaR8TlMatqdmOLyEMc2BldmFGE+fde7KVrwwhzUEzcdKIw707PaS5BT1f33mZqSH0Xq4jUKmBE',1764000000000000,1766592000000000);
INSERT INTO "signing_secrets" VALUES('sec_019ab697e8007000b720315e42926ae5','sub_019ab697e800700098cb9b3f98e91a00','ep_019ab697e8007000885165a51ba91736','9dd5b77d:WHL/nvlOrCR8DcT2Gl82cqdbQn1o02eWARKjZFVk5oO/Dn+gd0wy9EEaub5zDteP/NfG9URBYjphLwCQ5DvyN927qCJRLVbhcdsBiu0b',1764000000000000,NULL);
CREATE TABLE subscribers (
	id VARCHAR(40) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at BIGINT NOT NULL, 
	disabled_at BIGINT, 
	CONSTRAINT pk_subscribers PRIMARY KEY (id), 
	CONSTRAINT uq_subscribers_name UNIQUE (name)
);
INSERT INTO "subscribers" VALUES('sub_019ab697e8007000be53905d741756b8','sub_019ab697e8007000be53905d741756b8',1764000000000000,NULL);
INSERT INTO "subscribers" VALUES('sub_019ab697e800700098cb9b3f98e91a00','former',1764000000000000,NULL);
CREATE TABLE upstreams (
	source VARCHAR(32) NOT NULL, 
	next_call_at BIGINT NOT NULL, 
	rate_factor DOUBLE NOT NULL, 
	slowed_at BIGINT NOT NULL, 
	turn VARCHAR(40) NOT NULL, 
	failure_streak INTEGER NOT NULL, 
	failed_at BIGINT NOT NULL, 
	down_since BIGINT, 
	error_code VARCHAR(200), 
	error_detail VARCHAR(500), 
	answered_at BIGINT, 
	CONSTRAINT pk_upstreams PRIMARY KEY (source), 
	CONSTRAINT ck_upstreams_rate CHECK (rate_factor > 0 AND rate_factor <= 1)
);
INSERT INTO "upstreams" VALUES('default',1764000123075000,1.0,0,'',0,0,NULL,NULL,NULL,NULL);
CREATE TABLE watches (
	id VARCHAR(40) NOT NULL, 
	subscriber_id VARCHAR(40) NOT NULL, 
	job INTEGER NOT NULL, 
	endpoint_id VARCHAR(40) NOT NULL, 
	"query" VARCHAR(2048), 
	events VARCHAR(100) NOT NULL, 
	user_metadata TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	waiting_key VARCHAR(64), 
	missing_base INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	due_at BIGINT, 
	finished_at BIGINT, 
	CONSTRAINT pk_watches PRIMARY KEY (id), 
	CONSTRAINT ck_watches_due CHECK ((status = 'waiting') = (due_at IS NOT NULL)), 
	CONSTRAINT ck_watches_finished CHECK ((status = 'waiting') = (finished_at IS NULL)), 
	CONSTRAINT ck_watches_waiting CHECK ((status = 'waiting') = (waiting_key IS NOT NULL)), 
	CONSTRAINT ck_watches_status CHECK (status IN ('waiting', 'success', 'fail', 'missing', 'expired', 'cancelled')), 
	CONSTRAINT fk_watches_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (id), 
	CONSTRAINT fk_watches_job FOREIGN KEY(job) REFERENCES jobs (id), 
	CONSTRAINT fk_watches_subscriber_id FOREIGN KEY(subscriber_id) REFERENCES subscribers (id), 
	CONSTRAINT uq_watches_waiting_key UNIQUE (waiting_key)
);
INSERT INTO "watches" VALUES('wat_019ab697e8007000afa721743e7f90a1','sub_019ab697e800700098cb9b3f98e91a00',1,'ep_019ab697e8007000a52c87bf195d2401',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','expired',NULL,0,1764000000000000,1764000060000000,NULL,1764000061000000);
INSERT INTO "watches" VALUES('wat_019ab698d6487000af3879a0dd2e0596','sub_019ab697e800700098cb9b3f98e91a00',2,'ep_019ab697e8007000a52c87bf195d2401',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','cancelled',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000);
INSERT INTO "watches" VALUES('wat_019ab698d6487000a6dd945ecf3a0050','sub_019ab697e800700098cb9b3f98e91a00',3,'ep_019ab697e8007000a52c87bf195d2401',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','fail',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000);
INSERT INTO "watches" VALUES('wat_019ab698d6487000af13850e1e2046fc','sub_019ab697e800700098cb9b3f98e91a00',4,'ep_019ab697e8007000a52c87bf195d2401',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','missing',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000);
INSERT INTO "watches" VALUES('wat_019ab698d6487000a2f3be70bcf65751','sub_019ab697e800700098cb9b3f98e91a00',5,'ep_019ab698d6487000bea7299d520f3900',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000);
INSERT INTO "watches" VALUES('wat_019ab698d648700097736d3a528cc95b','sub_019ab697e800700098cb9b3f98e91a00',6,'ep_019ab698d6487000916bbca0c7e1e9c1',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000);
INSERT INTO "watches" VALUES('wat_019ab699c490700097701ad556838d86','sub_019ab697e800700098cb9b3f98e91a00',7,'ep_019ab699c4907000b55ca192408c01b4',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c4907000b4edd69402f5af4f','sub_019ab697e800700098cb9b3f98e91a00',8,'ep_019ab699c4907000b55ca192408c01b4',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c4907000bd8141ea99fdf282','sub_019ab697e800700098cb9b3f98e91a00',9,'ep_019ab699c490700080174bb9c58d469b',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c4907000a17d64b2a91133a4','sub_019ab697e800700098cb9b3f98e91a00',10,'ep_019ab699c4907000a6af5cb6547e3d1b',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c4907000a61a917cad5d715a','sub_019ab697e800700098cb9b3f98e91a00',11,'ep_019ab699c49070008e094980ccb33957',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c49070009e193eaa7a079956','sub_019ab697e800700098cb9b3f98e91a00',12,'ep_019ab699c4907000b274233b2981e0d3',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c49070009ce9893698dabf04','sub_019ab697e800700098cb9b3f98e91a00',13,'ep_019ab699c4907000b274233b2981e0d3',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','cancelled',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c49070009182512a004ef224','sub_019ab697e800700098cb9b3f98e91a00',14,'ep_019ab699c49070008888132ba64e6fd8',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c4907000a7d0b1cb7b0bda40','sub_019ab697e800700098cb9b3f98e91a00',16,'ep_019ab699c49070008888132ba64e6fd8',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c4907000ba25d3ab28f0f8f8','sub_019ab697e800700098cb9b3f98e91a00',15,'ep_019ab699c49070008888132ba64e6fd8',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000);
INSERT INTO "watches" VALUES('wat_019ab699c878700088fcb5ba7e645cc5','sub_019ab697e800700098cb9b3f98e91a00',17,'ep_019ab697e8007000a52c87bf195d2401','site=eu','ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{"n": 1}','waiting','af1ad8327c1d9d59c953a0bda5ed448ba1db09771b7f1d6eb8739b30d1a0eb53',0,1764000123000000,1764086523000000,1764086523000000,NULL);
INSERT INTO "watches" VALUES('wat_019ab699c878700094da89d13031586b','sub_019ab697e800700098cb9b3f98e91a00',18,'ep_019ab697e8007000a52c87bf195d2401',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','waiting','44ba6a283d74f92ce2085d2ac169d033ad1c3e719572e6e3330b14a3c2b085a4',0,1764000123000000,1764086523000000,1764086523000000,NULL);
INSERT INTO "watches" VALUES('wat_019ab699c8787000896c15b3e6124942','sub_019ab697e800700098cb9b3f98e91a00',19,'ep_019ab697e8007000a52c87bf195d2401',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','waiting','cddd29010c451f6c1a978b8374f3857895cb0720e9961bf5577f92ebe9e86e3b',0,1764000123000000,1764086523000000,1764086523000000,NULL);
CREATE INDEX ix_idempotent_answers_created_at ON idempotent_answers (created_at);
CREATE INDEX ix_jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_jobs_hinted ON jobs (hinted_at) WHERE hinted_at IS NOT NULL;
CREATE INDEX ix_jobs_owner ON jobs (owner, due_at) WHERE owner IS NOT NULL;
CREATE INDEX ix_api_keys_subscriber_id ON api_keys (subscriber_id);
CREATE INDEX ix_bulk_retries_due ON bulk_retries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_bulk_retries_subscriber_id ON bulk_retries (subscriber_id);
CREATE INDEX ix_endpoints_held ON endpoints (held_at) WHERE held_at IS NOT NULL;
CREATE INDEX ix_endpoints_list ON endpoints (subscriber_id, id);
CREATE INDEX ix_endpoints_notice ON endpoints (notice_at) WHERE notice_at IS NOT NULL;
CREATE INDEX ix_endpoints_ready ON endpoints (proven, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX ix_endpoints_turn ON endpoints (subscriber_id, proven, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX ix_signing_secrets_endpoint_id ON signing_secrets (endpoint_id);
CREATE INDEX ix_signing_secrets_subscriber_id ON signing_secrets (subscriber_id);
CREATE INDEX ix_watches_due ON watches (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_watches_endpoint ON watches (endpoint_id, id);
CREATE INDEX ix_watches_job ON watches (job, due_at);
CREATE INDEX ix_watches_list ON watches (subscriber_id, id);
CREATE INDEX ix_watches_waiting ON watches (subscriber_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ix_delivery_listings_subscriber ON delivery_listings (subscriber_id, delivery_id);
CREATE INDEX ix_delivery_listings_endpoint ON delivery_listings (endpoint_id, delivery_id);
CREATE INDEX ix_delivery_listings_watch ON delivery_listings (watch_id, delivery_id) WHERE watch_id IS NOT NULL;
CREATE INDEX ix_deliveries_claimed ON deliveries (endpoint_id, token) WHERE token IS NOT NULL;
CREATE INDEX ix_deliveries_solo ON deliveries (solo_at) WHERE solo_at IS NOT NULL;
CREATE INDEX ix_deliveries_due ON deliveries (endpoint_id, due_at) WHERE due_at IS NOT NULL;
COMMIT;
