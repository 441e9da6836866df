/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `alembic_version` (
  `version_num` varchar(32) NOT NULL,
  PRIMARY KEY (`version_num`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `alembic_version` VALUES
('0004');
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `api_keys` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `sha256` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `hint` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `created_at` bigint(20) NOT NULL,
  `revoked_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_api_keys_sha256` (`sha256`),
  KEY `ix_api_keys_subscriber_id` (`subscriber_id`),
  CONSTRAINT `fk_api_keys_subscriber_id` FOREIGN KEY (`subscriber_id`) REFERENCES `subscribers` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `api_keys` VALUES
('key_019ab697e800700084e7a4de6289f147','sub_019ab697e800700098ba17278dc33b81','9b922da433e6c7ab18f525da38a5aaee61f21c674292074cc5495134a1d8bee0','rk_HVrkoPA',1764000000000000,1764000000000000),
('key_019ab697e8007000baf1e6e2ac187f6e','sub_019ab697e800700098ba17278dc33b81','ccac8b03fde814ca412d949cc98bac46decd8c047a9db696fb85fa83cd0e4b10','rk_aEkJJas',1764000000000000,NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `attempts` (
  `delivery_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `number` int(11) NOT NULL,
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `started_at` bigint(20) NOT NULL,
  `duration` bigint(20) DEFAULT NULL,
  `status_code` int(11) DEFAULT NULL,
  `error` varchar(32) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `detail` varchar(500) DEFAULT NULL,
  `response_body` longtext DEFAULT NULL,
  PRIMARY KEY (`delivery_id`,`number`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `attempts` VALUES
('msg_019ab698d64870008c8b8d49e2f2ddbb',1,'att_019ab698d6487000a227533102d6de1f',1764000061000000,1000,200,NULL,NULL,'ok'),
('msg_019ab698d64870008ea881921a28ec24',1,'att_019ab698d64870009eee8696e45bdf4a',1764000061000000,1000,200,NULL,NULL,'ok'),
('msg_019ab698d6487000ad0ff9d51b2416b4',1,'att_019ab698d6487000b8c54c39a2254c3a',1764000061000000,1000,200,NULL,NULL,'ok'),
('msg_019ab698d6487000adfdab08a283e5dc',1,'att_019ab698d648700097ff1b4a1bb9f5c9',1764000061000000,1000,200,NULL,NULL,'ok'),
('msg_019ab698d6487000bab231480457943d',1,'att_019ab699c490700093e62d897af23ba9',1764000122000000,NULL,NULL,'lost','the process that sent this ended before the answer was recorded',NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `bulk_retries` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `status` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `endpoint_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `to_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `after_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `retried` int(11) NOT NULL,
  `due_at` bigint(20) DEFAULT NULL,
  `created_at` bigint(20) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `ix_bulk_retries_due` (`due_at`),
  KEY `ix_bulk_retries_subscriber_id` (`subscriber_id`),
  CONSTRAINT `fk_bulk_retries_subscriber_id` FOREIGN KEY (`subscriber_id`) REFERENCES `subscribers` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `bulk_retries` VALUES
('bulk_019ab699c87870008c6a131229b6683a','sub_019ab697e800700098ba17278dc33b81','failed',NULL,'msg_019ab699c87870008000000000000000','msg_00000000000070008000000000000000',0,1764000123000000,1764000123000000);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `counters` (
  `name` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `label` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `value` bigint(20) NOT NULL,
  PRIMARY KEY (`name`,`label`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `counters` VALUES
('relay_watches_registered_total','',7),
('secret_rotations','',1);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `deliveries` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `watch_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `endpoint_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `event` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `status` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `due_at` bigint(20) DEFAULT NULL,
  `solo_at` bigint(20) DEFAULT NULL,
  `token` varchar(32) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `attempt_count` int(11) NOT NULL,
  `lost_count` int(11) NOT NULL,
  `since` bigint(20) NOT NULL,
  `content` longtext DEFAULT NULL,
  `step` int(11) NOT NULL,
  `cancel_requested` smallint(6) NOT NULL,
  `payload_bytes` bigint(20) NOT NULL,
  `last_error` varchar(500) DEFAULT NULL,
  `created_at` bigint(20) NOT NULL,
  `delivered_at` bigint(20) DEFAULT NULL,
  `finished_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `ix_deliveries_claimed` (`endpoint_id`,`token`),
  KEY `ix_deliveries_due` (`endpoint_id`,`due_at`),
  KEY `ix_deliveries_solo` (`solo_at`),
  CONSTRAINT `ck_deliveries_delivered` CHECK (`status` = 'delivered' <= (`delivered_at` is not null)),
  CONSTRAINT `ck_deliveries_due` CHECK (`status` = 'pending' = (`due_at` is not null or `solo_at` is not null)),
  CONSTRAINT `ck_deliveries_finished` CHECK (`status` = 'pending' = (`finished_at` is null)),
  CONSTRAINT `ck_deliveries_event` CHECK (`event` in ('ai_job.success','ai_job.fail','ai_job.missing','watch.expired','endpoint.disabled','relay.test')),
  CONSTRAINT `ck_deliveries_status` CHECK (`status` in ('pending','delivered','failed','cancelled')),
  CONSTRAINT `ck_deliveries_claim` CHECK (`token` is null or `status` = 'pending'),
  CONSTRAINT `ck_deliveries_solo` CHECK (`due_at` is null or `solo_at` is null)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `deliveries` VALUES
('msg_019ab698d64870008c8b8d49e2f2ddbb','sub_019ab697e800700098ba17278dc33b81','wat_019ab698d6487000b918a01bed5efa54','ep_019ab698d6487000bccd31eaa65731fe','ai_job.success','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000),
('msg_019ab698d64870008ea881921a28ec24','sub_019ab697e800700098ba17278dc33b81','wat_019ab697e80070009abc41d0f0f7c9bd','ep_019ab697e8007000add694e3628f0180','watch.expired','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000),
('msg_019ab698d6487000ad0ff9d51b2416b4','sub_019ab697e800700098ba17278dc33b81','wat_019ab698d64870009c60409e4f8c47a4','ep_019ab697e8007000add694e3628f0180','ai_job.fail','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000),
('msg_019ab698d6487000adfdab08a283e5dc','sub_019ab697e800700098ba17278dc33b81','wat_019ab698d64870009a769afa05860420','ep_019ab697e8007000add694e3628f0180','ai_job.missing','delivered',NULL,NULL,NULL,1,0,1764000061000000,NULL,0,0,2,NULL,1764000061000000,1764000061000000,1764000061000000),
('msg_019ab698d6487000bab231480457943d','sub_019ab697e800700098ba17278dc33b81','wat_019ab698d6487000b53e8ab24f31992e','ep_019ab698d6487000a5fe827028a86d9d','ai_job.success','pending',1764000182000000,NULL,'a0dcfcad6ca692d59a20e8ecf7d912df',2,1,1764000061000000,NULL,0,0,2,NULL,1764000061000000,NULL,NULL),
('msg_019ab699c49070008a4b871560282840','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c4907000bd886d8e012d454e','ep_019ab699c4907000bc6bb85aed167d25','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL),
('msg_019ab699c4907000915a96e2b584dbf6','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c490700091a710bd1d4b0287','ep_019ab699c4907000b4e4ca92a68ad0b6','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL),
('msg_019ab699c490700091f838e0a0241107','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c490700097ae62805097492e','ep_019ab699c49070009ce08f93180d6640','ai_job.success','failed',NULL,NULL,NULL,0,0,1764000122000000,NULL,3,0,2,'500',1764000122000000,NULL,1764000122000000),
('msg_019ab699c490700099724697476aad05','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c49070009314d59afda1ff6b','ep_019ab699c4907000acb1ff08595cc074','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL),
('msg_019ab699c49070009f50ef3b3870f941','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c4907000a6733c5c0c6a16bd','ep_019ab699c49070009ce08f93180d6640','ai_job.success','failed',NULL,NULL,NULL,0,0,1764000122000000,NULL,3,0,2,'500',1764000122000000,NULL,1764000122000000),
('msg_019ab699c4907000a415c81e718a2cec','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c490700087fce931ac599b69','ep_019ab699c49070009ce08f93180d6640','ai_job.success','failed',NULL,NULL,NULL,0,0,1764000122000000,NULL,3,0,2,'500',1764000122000000,NULL,1764000122000000),
('msg_019ab699c4907000b28f92d885717fb9','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c49070009399c56b4854738e','ep_019ab699c4907000831f809fde6af069','ai_job.success','cancelled',NULL,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,1764000122000000),
('msg_019ab699c4907000b97aa2faadae83f1','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c4907000a3a3cad18dd22d93','ep_019ab699c490700097cbc753cebbe908','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL),
('msg_019ab699c4907000bd33166fc7f8962e','sub_019ab697e800700098ba17278dc33b81','wat_019ab699c49070009728bab93efd2711','ep_019ab699c490700097cbc753cebbe908','ai_job.success','pending',1764000122000000,NULL,NULL,0,0,1764000122000000,NULL,0,0,2,NULL,1764000122000000,NULL,NULL),
('msg_019ab699c8787000bb24b762835f600a','sub_019ab697e800700098ba17278dc33b81',NULL,'ep_019ab697e8007000a7864f8a3547843d','relay.test','pending',NULL,1764000123000000,NULL,0,0,1764000123000000,'{\"endpoint_id\": \"ep_019ab697e8007000a7864f8a3547843d\", \"message\": \"A test from Relay: this endpoint can be reached.\"}',0,0,0,NULL,1764000123000000,NULL,NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `delivery_listings` (
  `delivery_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `endpoint_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `watch_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  PRIMARY KEY (`delivery_id`),
  KEY `ix_delivery_listings_subscriber` (`subscriber_id`,`delivery_id`),
  KEY `ix_delivery_listings_endpoint` (`endpoint_id`,`delivery_id`),
  KEY `ix_delivery_listings_watch` (`watch_id`,`delivery_id`),
  CONSTRAINT `fk_delivery_listings_delivery_id` FOREIGN KEY (`delivery_id`) REFERENCES `deliveries` (`id`) ON DELETE CASCADE,
  CONSTRAINT `fk_delivery_listings_endpoint_id` FOREIGN KEY (`endpoint_id`) REFERENCES `endpoints` (`id`),
  CONSTRAINT `fk_delivery_listings_subscriber_id` FOREIGN KEY (`subscriber_id`) REFERENCES `subscribers` (`id`),
  CONSTRAINT `fk_delivery_listings_watch_id` FOREIGN KEY (`watch_id`) REFERENCES `watches` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `delivery_listings` VALUES
('msg_019ab698d64870008c8b8d49e2f2ddbb','sub_019ab697e800700098ba17278dc33b81','ep_019ab698d6487000bccd31eaa65731fe','wat_019ab698d6487000b918a01bed5efa54'),
('msg_019ab698d64870008ea881921a28ec24','sub_019ab697e800700098ba17278dc33b81','ep_019ab697e8007000add694e3628f0180','wat_019ab697e80070009abc41d0f0f7c9bd'),
('msg_019ab698d6487000ad0ff9d51b2416b4','sub_019ab697e800700098ba17278dc33b81','ep_019ab697e8007000add694e3628f0180','wat_019ab698d64870009c60409e4f8c47a4'),
('msg_019ab698d6487000adfdab08a283e5dc','sub_019ab697e800700098ba17278dc33b81','ep_019ab697e8007000add694e3628f0180','wat_019ab698d64870009a769afa05860420'),
('msg_019ab698d6487000bab231480457943d','sub_019ab697e800700098ba17278dc33b81','ep_019ab698d6487000a5fe827028a86d9d','wat_019ab698d6487000b53e8ab24f31992e'),
('msg_019ab699c49070008a4b871560282840','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c4907000bc6bb85aed167d25','wat_019ab699c4907000bd886d8e012d454e'),
('msg_019ab699c4907000915a96e2b584dbf6','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c4907000b4e4ca92a68ad0b6','wat_019ab699c490700091a710bd1d4b0287'),
('msg_019ab699c490700091f838e0a0241107','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c49070009ce08f93180d6640','wat_019ab699c490700097ae62805097492e'),
('msg_019ab699c490700099724697476aad05','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c4907000acb1ff08595cc074','wat_019ab699c49070009314d59afda1ff6b'),
('msg_019ab699c49070009f50ef3b3870f941','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c49070009ce08f93180d6640','wat_019ab699c4907000a6733c5c0c6a16bd'),
('msg_019ab699c4907000a415c81e718a2cec','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c49070009ce08f93180d6640','wat_019ab699c490700087fce931ac599b69'),
('msg_019ab699c4907000b28f92d885717fb9','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c4907000831f809fde6af069','wat_019ab699c49070009399c56b4854738e'),
('msg_019ab699c4907000b97aa2faadae83f1','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c490700097cbc753cebbe908','wat_019ab699c4907000a3a3cad18dd22d93'),
('msg_019ab699c4907000bd33166fc7f8962e','sub_019ab697e800700098ba17278dc33b81','ep_019ab699c490700097cbc753cebbe908','wat_019ab699c49070009728bab93efd2711'),
('msg_019ab699c8787000bb24b762835f600a','sub_019ab697e800700098ba17278dc33b81','ep_019ab697e8007000a7864f8a3547843d',NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `endpoints` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `url` varchar(2048) NOT NULL,
  `url_key` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `description` varchar(500) DEFAULT NULL,
  `headers_sealed` longtext DEFAULT NULL,
  `status` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `disabled_reason` varchar(40) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `max_in_flight` int(11) NOT NULL,
  `rate_per_second` double DEFAULT NULL,
  `ready_at` bigint(20) DEFAULT NULL,
  `not_before` bigint(20) NOT NULL,
  `proven` smallint(6) NOT NULL,
  `allowance` int(11) NOT NULL,
  `failure_streak` int(11) NOT NULL,
  `failing_since` bigint(20) DEFAULT NULL,
  `opened_at` bigint(20) DEFAULT NULL,
  `open_until` bigint(20) NOT NULL,
  `probe_count` int(11) NOT NULL,
  `recovered_at` bigint(20) DEFAULT NULL,
  `held_at` bigint(20) DEFAULT NULL,
  `notices` smallint(6) NOT NULL,
  `notice_at` bigint(20) DEFAULT NULL,
  `last_error` varchar(500) DEFAULT NULL,
  `created_at` bigint(20) NOT NULL,
  `deleted_at` bigint(20) DEFAULT NULL,
  `blocked_since` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_endpoints_subscriber_id_url_key` (`subscriber_id`,`url_key`),
  KEY `ix_endpoints_held` (`held_at`),
  KEY `ix_endpoints_list` (`subscriber_id`,`id`),
  KEY `ix_endpoints_notice` (`notice_at`),
  KEY `ix_endpoints_ready` (`proven`,`ready_at`),
  KEY `ix_endpoints_turn` (`subscriber_id`,`proven`,`ready_at`),
  CONSTRAINT `fk_endpoints_subscriber_id` FOREIGN KEY (`subscriber_id`) REFERENCES `subscribers` (`id`),
  CONSTRAINT `ck_endpoints_held` CHECK (`status` = 'active' = (`held_at` is null)),
  CONSTRAINT `ck_endpoints_ready` CHECK (`ready_at` is null or `status` = 'active' and `deleted_at` is null),
  CONSTRAINT `ck_endpoints_status` CHECK (`status` in ('active','paused','disabled')),
  CONSTRAINT `ck_endpoints_deleted` CHECK (`deleted_at` is null = (`url_key` is not null)),
  CONSTRAINT `ck_endpoints_pace` CHECK (`allowance` >= 1 and `max_in_flight` >= 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `endpoints` VALUES
('ep_019ab697e8007000a7864f8a3547843d','sub_019ab697e800700098ba17278dc33b81','https://own.example/hook','025695262a13903ec943486532d85c46b10f5889d1ea62a77d881cf407f60b1a',NULL,'9dd5b77d:qY2HWTjH6KCu7dPCMv8FMj2IlSerNp53DjEqY4vnuhJaayBOU4emP2eTIXDHN+ZvBS/h3v7VPN0=','active',NULL,10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,NULL,1,NULL,NULL,1764000000000000,NULL,NULL),
('ep_019ab697e8007000add694e3628f0180','sub_019ab697e800700098ba17278dc33b81','https://example.com/hook','19f1352238b915338c91b6a9fdd2dd4be99a13c18e95bbfbf1443ee01fb616b6',NULL,NULL,'active',NULL,10,NULL,NULL,0,1,5,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000000000000,NULL,NULL),
('ep_019ab698d6487000a5fe827028a86d9d','sub_019ab697e800700098ba17278dc33b81','https://lost.example/hook','87ca69fd196bf4397759f331d1d6e2f31d8b9e87bbf131f1890016b6b9a86997',NULL,NULL,'active',NULL,10,NULL,1764000182000000,0,0,2,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000061000000,NULL,NULL),
('ep_019ab698d6487000bccd31eaa65731fe','sub_019ab697e800700098ba17278dc33b81','https://done.example/hook','8d1f3f9233ccd7927f783dccec3bc4e665c20e292fa007ab2debad982301df8e',NULL,NULL,'active',NULL,10,NULL,NULL,0,1,3,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000061000000,NULL,NULL),
('ep_019ab699c4907000831f809fde6af069','sub_019ab697e800700098ba17278dc33b81','https://deleted.example/hook',NULL,NULL,NULL,'disabled',NULL,10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,1764000122000000,0,NULL,NULL,1764000122000000,1764000122000000,NULL),
('ep_019ab699c490700097cbc753cebbe908','sub_019ab697e800700098ba17278dc33b81','https://pending.example/hook','c28fe1bba26fb34b5bc839e5e831af8354ee82b3b759f179d884323b5484aaff',NULL,NULL,'active',NULL,10,NULL,1764000122000000,0,0,2,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000122000000,NULL,NULL),
('ep_019ab699c49070009ce08f93180d6640','sub_019ab697e800700098ba17278dc33b81','https://failed.example/hook','8df19a0eaf058fea11696ab878b203a9e68fa1e993affa13da98023ab6b865b6',NULL,NULL,'active',NULL,10,NULL,1764000122000000,0,0,2,0,NULL,NULL,0,0,NULL,NULL,0,NULL,NULL,1764000122000000,NULL,NULL),
('ep_019ab699c4907000acb1ff08595cc074','sub_019ab697e800700098ba17278dc33b81','https://gone.example/hook','343742e90fa43bdfa63254082d75b0f5b78fb81106403056fd61c7e1a9bb0795',NULL,NULL,'disabled','gone',10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,1764000122000000,0,1764000122000000,NULL,1764000122000000,NULL,NULL),
('ep_019ab699c4907000b4e4ca92a68ad0b6','sub_019ab697e800700098ba17278dc33b81','https://paused.example/hook','b82e443e6a9af761825b11a4ddbdb0ebb2d5753a7c8976e0af650e345becb814',NULL,NULL,'paused',NULL,10,NULL,NULL,0,0,2,0,NULL,NULL,0,0,NULL,1764000122000000,0,NULL,NULL,1764000122000000,NULL,NULL),
('ep_019ab699c4907000bc6bb85aed167d25','sub_019ab697e800700098ba17278dc33b81','https://open.example/hook','394a7e0164ae7ad3ace82c632d55cd8c979452fc17372a878e41f77df7b98052',NULL,NULL,'active',NULL,10,NULL,1764000132000000,0,0,1,10,1764000122000000,1764000122000000,1764000132000000,1,NULL,NULL,0,NULL,'500',1764000122000000,NULL,1764000122000000);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `idempotent_answers` (
  `key` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `body_sha256` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `status` int(11) DEFAULT NULL,
  `sealed` smallint(6) NOT NULL,
  `answer` longtext DEFAULT NULL,
  `created_at` bigint(20) NOT NULL,
  PRIMARY KEY (`key`),
  KEY `ix_idempotent_answers_created_at` (`created_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `idempotent_answers` VALUES
('d5f58d70727221c29bef37c5782d5e18dc98c538bcea4e0d63c8eec6b3a69bc6','44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',201,0,'{\"id\": \"wat_former\"}',1764000123000000);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `job_types` (
  `source` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `name` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `durations` longtext NOT NULL,
  PRIMARY KEY (`source`,`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `job_types` VALUES
('default','AIVideoTag','[12.5, 20.0]');
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `jobs` (
  `id` bigint(20) NOT NULL AUTO_INCREMENT,
  `source` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `job_id` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `status` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `type` longtext DEFAULT NULL,
  `code` longtext DEFAULT NULL,
  `message` longtext DEFAULT NULL,
  `media_id` longtext DEFAULT NULL,
  `creation_time` longtext DEFAULT NULL,
  `complete_time` longtext DEFAULT NULL,
  `data` longtext DEFAULT NULL,
  `data_bytes` bigint(20) NOT NULL,
  `data_is_json` smallint(6) NOT NULL,
  `owner` varchar(40) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `due_at` bigint(20) DEFAULT NULL,
  `token` varchar(32) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `attempt_count` int(11) NOT NULL,
  `lost_count` int(11) NOT NULL,
  `missing_count` int(11) NOT NULL,
  `polled_at` bigint(20) DEFAULT NULL,
  `hinted_at` bigint(20) DEFAULT NULL,
  `hint_polls` int(11) DEFAULT NULL,
  `created_at` bigint(20) NOT NULL,
  `finished_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_jobs_source_job_id` (`source`,`job_id`),
  KEY `ix_jobs_due` (`due_at`),
  KEY `ix_jobs_hinted` (`hinted_at`),
  KEY `ix_jobs_owner` (`owner`,`due_at`),
  CONSTRAINT `ck_jobs_finished` CHECK (`status` = 'open' = (`finished_at` is null)),
  CONSTRAINT `ck_jobs_due` CHECK (`status` = 'open' or `due_at` is null),
  CONSTRAINT `ck_jobs_status` CHECK (`status` in ('open','success','fail')),
  CONSTRAINT `ck_jobs_hint` CHECK (`hinted_at` is null = (`hint_polls` is null)),
  CONSTRAINT `ck_jobs_owner` CHECK (`owner` is null or `due_at` is not null),
  CONSTRAINT `ck_jobs_claim` CHECK (`token` is null or `due_at` is not null)
) ENGINE=InnoDB AUTO_INCREMENT=20 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `jobs` VALUES
(1,'default','former-expired','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000000000000,NULL),
(2,'default','former-cancelled','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,NULL),
(3,'default','former-failed','fail','AIMediaDNA','Some.Code','why',NULL,NULL,NULL,'{\"VideoDNA\":[]}',15,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,1764000061000000),
(4,'default','former-missing','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,NULL),
(5,'default','f91be0bfc68f0ccea0dd3be85d5f096e','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,1764000061000000),
(6,'default','c39d208d10a560904b293341be75f894','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000061000000,1764000061000000),
(7,'default','766f09b669641593ef2902ded5296e8b','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(8,'default','ac4b884e9a2e6b32b3052bf4c84edda0','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(9,'default','6e12bef50facaf0b5a28c39a93ccd774','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(10,'default','71804f8e7fca1d4b80fc7cae8b5878b7','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(11,'default','4e65810ae7464a8caeb36fca73524461','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(12,'default','25063b1842e1ffe17975ae2c014a37c2','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(13,'default','former-deleted','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,NULL),
(14,'default','2ff35818eb5a0c3914dddd8f8685a448','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(15,'default','89b17c10d4dbe68137aab0353c76400f','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(16,'default','c84e38e55976fa90d6afb13fb8a718d6','success','AIVideoTag','0','OK',NULL,NULL,NULL,'{\"a\":1}',7,1,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1764000122000000,1764000122000000),
(17,'default','former-waiting','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'sub_019ab697e800700098ba17278dc33b81',1764000183000000,'tttttttttttttttttttttttttttttttt',1,0,0,1764000123000000,NULL,NULL,1764000123000000,NULL),
(18,'default','former-claimed','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'sub_019ab697e800700098ba17278dc33b81',1764000183000000,'tttttttttttttttttttttttttttttttt',1,0,0,1764000123000000,NULL,NULL,1764000123000000,NULL),
(19,'default','former-hinted','open',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'sub_019ab697e800700098ba17278dc33b81',1764000123000000,NULL,0,0,0,NULL,1764000123000000,0,1764000123000000,NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `poll_policies` (
  `source` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `refreshed_at` bigint(20) NOT NULL,
  `newest_job` bigint(20) NOT NULL,
  `new_jobs` double NOT NULL,
  `shares` longtext NOT NULL,
  PRIMARY KEY (`source`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `poll_policies` VALUES
('default',1764000123000000,19,0,'{}');
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `signing_secrets` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `endpoint_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `sealed` longtext NOT NULL,
  `created_at` bigint(20) NOT NULL,
  `expires_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `ix_signing_secrets_endpoint_id` (`endpoint_id`),
  KEY `ix_signing_secrets_subscriber_id` (`subscriber_id`),
  CONSTRAINT `fk_signing_secrets_endpoint_id` FOREIGN KEY (`endpoint_id`) REFERENCES `endpoints` (`id`),
  CONSTRAINT `fk_signing_secrets_subscriber_id` FOREIGN KEY (`subscriber_id`) REFERENCES `subscribers` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `signing_secrets` VALUES
('sec_019ab697e80070009c97ea641f7c4560','sub_019ab697e800700098ba17278dc33b81',NULL,'9dd5b77d:KuvNMPs1SuEozcO0kheWcL6HT7rzkkYxH+ZY7WWKt4/0f+xpJ+2AeykbfZPAasRCqs2DpaNEDcmeaJcHEec8hp8v1ccG3hdaNnXIwUFb',1764000000000000,NULL),
('sec_019ab697e80070009db6a9b2863774a5','sub_019ab697e800700098ba17278dc33b81','ep_019ab697e8007000a7864f8a3547843d','9dd5b77d:jL/FqAcqgUFleCOn4oEBscPEUIb+7udEX13VNBXlFuWGfjtlpEsFPqEsZ26RSlO4zd4K5eGtFLv+bzPSFZCDMf8rQ4TSofSpKVGLChWJ',1764000000000000,1766592000000000),
('sec_019ab697e8007000a5c24fd639a3eaab','sub_019ab697e800700098ba17278dc33b81','ep_019ab697e8007000a7864f8a3547843d','9dd5b77d:BORw6XcXAbJ7fOIAM8a52YeF684DlTKEZEgckxGuJjvCtwZgnoTmdrAY1KW1FPGBTkcebbyVQ/LJ6r0phWPSddWrK3yU2pE7lvwnCW9s',1764000000000000,NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `subscribers` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `name` varchar(100) NOT NULL,
  `created_at` bigint(20) NOT NULL,
  `disabled_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_subscribers_name` (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `subscribers` VALUES
('sub_019ab697e800700098ba17278dc33b81','former',1764000000000000,NULL),
('sub_019ab697e8007000a06781fb947e937c','sub_019ab697e8007000a06781fb947e937c',1764000000000000,NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `upstreams` (
  `source` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `next_call_at` bigint(20) NOT NULL,
  `rate_factor` double NOT NULL,
  `slowed_at` bigint(20) NOT NULL,
  `turn` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `failure_streak` int(11) NOT NULL,
  `failed_at` bigint(20) NOT NULL,
  `down_since` bigint(20) DEFAULT NULL,
  `error_code` varchar(200) DEFAULT NULL,
  `error_detail` varchar(500) DEFAULT NULL,
  `answered_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`source`),
  CONSTRAINT `ck_upstreams_rate` CHECK (`rate_factor` > 0 and `rate_factor` <= 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `upstreams` VALUES
('default',1764000123075000,1,0,'',0,0,NULL,NULL,NULL,NULL);
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `watches` (
  `id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `subscriber_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `job` bigint(20) NOT NULL,
  `endpoint_id` varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `query` varchar(2048) DEFAULT NULL,
  `events` varchar(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `user_metadata` longtext NOT NULL,
  `status` varchar(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `waiting_key` varchar(64) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL,
  `missing_base` int(11) NOT NULL,
  `created_at` bigint(20) NOT NULL,
  `expires_at` bigint(20) NOT NULL,
  `due_at` bigint(20) DEFAULT NULL,
  `finished_at` bigint(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_watches_waiting_key` (`waiting_key`),
  KEY `ix_watches_due` (`due_at`),
  KEY `ix_watches_endpoint` (`endpoint_id`,`id`),
  KEY `ix_watches_job` (`job`,`due_at`),
  KEY `ix_watches_list` (`subscriber_id`,`id`),
  KEY `ix_watches_waiting` (`subscriber_id`,`due_at`),
  CONSTRAINT `fk_watches_endpoint_id` FOREIGN KEY (`endpoint_id`) REFERENCES `endpoints` (`id`),
  CONSTRAINT `fk_watches_job` FOREIGN KEY (`job`) REFERENCES `jobs` (`id`),
  CONSTRAINT `fk_watches_subscriber_id` FOREIGN KEY (`subscriber_id`) REFERENCES `subscribers` (`id`),
  CONSTRAINT `ck_watches_due` CHECK (`status` = 'waiting' = (`due_at` is not null)),
  CONSTRAINT `ck_watches_finished` CHECK (`status` = 'waiting' = (`finished_at` is null)),
  CONSTRAINT `ck_watches_waiting` CHECK (`status` = 'waiting' = (`waiting_key` is not null)),
  CONSTRAINT `ck_watches_status` CHECK (`status` in ('waiting','success','fail','missing','expired','cancelled'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
/*!40101 SET character_set_client = @saved_cs_client */;

INSERT INTO `watches` VALUES
('wat_019ab697e80070009abc41d0f0f7c9bd','sub_019ab697e800700098ba17278dc33b81',1,'ep_019ab697e8007000add694e3628f0180',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','expired',NULL,0,1764000000000000,1764000060000000,NULL,1764000061000000),
('wat_019ab698d64870009509a4f365309bcc','sub_019ab697e800700098ba17278dc33b81',2,'ep_019ab697e8007000add694e3628f0180',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','cancelled',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000),
('wat_019ab698d64870009a769afa05860420','sub_019ab697e800700098ba17278dc33b81',4,'ep_019ab697e8007000add694e3628f0180',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','missing',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000),
('wat_019ab698d64870009c60409e4f8c47a4','sub_019ab697e800700098ba17278dc33b81',3,'ep_019ab697e8007000add694e3628f0180',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','fail',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000),
('wat_019ab698d6487000b53e8ab24f31992e','sub_019ab697e800700098ba17278dc33b81',6,'ep_019ab698d6487000a5fe827028a86d9d',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000),
('wat_019ab698d6487000b918a01bed5efa54','sub_019ab697e800700098ba17278dc33b81',5,'ep_019ab698d6487000bccd31eaa65731fe',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000061000000,1764086461000000,NULL,1764000061000000),
('wat_019ab699c490700087fce931ac599b69','sub_019ab697e800700098ba17278dc33b81',16,'ep_019ab699c49070009ce08f93180d6640',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c490700091a710bd1d4b0287','sub_019ab697e800700098ba17278dc33b81',9,'ep_019ab699c4907000b4e4ca92a68ad0b6',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c49070009314d59afda1ff6b','sub_019ab697e800700098ba17278dc33b81',10,'ep_019ab699c4907000acb1ff08595cc074',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c49070009399c56b4854738e','sub_019ab697e800700098ba17278dc33b81',12,'ep_019ab699c4907000831f809fde6af069',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c49070009728bab93efd2711','sub_019ab697e800700098ba17278dc33b81',8,'ep_019ab699c490700097cbc753cebbe908',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c490700097ae62805097492e','sub_019ab697e800700098ba17278dc33b81',14,'ep_019ab699c49070009ce08f93180d6640',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c490700099a73d9ea9433c73','sub_019ab697e800700098ba17278dc33b81',13,'ep_019ab699c4907000831f809fde6af069',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','cancelled',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c4907000a3a3cad18dd22d93','sub_019ab697e800700098ba17278dc33b81',7,'ep_019ab699c490700097cbc753cebbe908',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c4907000a6733c5c0c6a16bd','sub_019ab697e800700098ba17278dc33b81',15,'ep_019ab699c49070009ce08f93180d6640',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c4907000bd886d8e012d454e','sub_019ab697e800700098ba17278dc33b81',11,'ep_019ab699c4907000bc6bb85aed167d25',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','success',NULL,0,1764000122000000,1764086522000000,NULL,1764000122000000),
('wat_019ab699c87870009e8065ffe222d56c','sub_019ab697e800700098ba17278dc33b81',18,'ep_019ab697e8007000add694e3628f0180',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','waiting','a3c5283f5a32bd88d78bb0e1b395d6d532662cb4244b593dd3b1c28b3f024b44',0,1764000123000000,1764086523000000,1764086523000000,NULL),
('wat_019ab699c8787000a5aaba55ef789c22','sub_019ab697e800700098ba17278dc33b81',17,'ep_019ab697e8007000add694e3628f0180','site=eu','ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{\"n\": 1}','waiting','fc71bb5b75dfee78bede10eef6977751f72c8652823726a56418c4489dad9026',0,1764000123000000,1764086523000000,1764086523000000,NULL),
('wat_019ab699c8787000b71229f8cc877b45','sub_019ab697e800700098ba17278dc33b81',19,'ep_019ab697e8007000add694e3628f0180',NULL,'ai_job.success,ai_job.fail,ai_job.missing,watch.expired','{}','waiting','4a577f3204002bfa65a0d0900d07accc9b59f1c5e4bc25645db6f05ec8488426',0,1764000123000000,1764086523000000,1764086523000000,NULL);

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

