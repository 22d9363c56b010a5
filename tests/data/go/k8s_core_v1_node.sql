-- The table and four rows as the Go programs make them, written from the contract (spec/1-nodes-and-mdns.md):
-- one Node of a controller, one that their network module manages, one that it deleted, and one that is all empty.
CREATE TABLE `k8s_core_v1_node` (
  `id` bigint unsigned AUTO_INCREMENT,
  `name` varchar(255) NOT NULL,
  `namespace` varchar(255),
  `uid` varchar(255),
  `resource_version` varchar(255),
  `labels` json,
  `annotations` json,
  `created_at` datetime(3) NULL,
  `updated_at` datetime(3) NULL,
  `deleted_at` datetime(3) NULL,
  `phase` varchar(50),
  `spec` json,
  `status` json,
  PRIMARY KEY (`id`),
  INDEX `idx_k8s_core_v1_node_name` (`name`),
  INDEX `idx_k8s_core_v1_node_namespace` (`namespace`),
  UNIQUE INDEX `idx_k8s_core_v1_node_uid` (`uid`),
  INDEX `idx_k8s_core_v1_node_resource_version` (`resource_version`),
  INDEX `idx_k8s_core_v1_node_created_at` (`created_at`),
  INDEX `idx_k8s_core_v1_node_deleted_at` (`deleted_at`),
  INDEX `idx_k8s_core_v1_node_phase` (`phase`)
);
INSERT INTO `k8s_core_v1_node` (`name`,`namespace`,`uid`,`resource_version`,`labels`,`annotations`,`created_at`,`updated_at`,`deleted_at`,`phase`,`spec`,`status`) VALUES
('control-1','','5f6b1c0e-3d6f-4f39-9a63-0d4c1d4b7c11','1795112147250318000','{"kubernetes.io/hostname":"control-1","node-role.kubernetes.io/control-plane":""}','null','2026-11-19 08:00:00.417','2026-11-20 18:15:47.250',NULL,'Running','{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24"],"taints":[{"key":"node-role.kubernetes.io/control-plane","effect":"NoSchedule"}]}','{"capacity":{"cpu":"4","memory":"16393244Ki"},"phase":"Running","conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-20T18:15:47Z","lastTransitionTime":"2026-11-19T08:00:00Z","reason":"KubeletReady","message":"kubelet is posting ready status"}],"addresses":[{"type":"Hostname","address":"control-1"},{"type":"InternalIP","address":"192.168.1.10"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":10250}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"6.1.0","osImage":"","containerRuntimeVersion":"","kubeletVersion":"v1.31.0","kubeProxyVersion":"","operatingSystem":"linux","architecture":"amd64"}}'),
('lab7','','node-lab7','1795112148100200300','{"k3.network/discovered":"true","k3.network/managed":"true","kubernetes.io/hostname":"lab7","rack":"b2"}','{"k3.network/lastSeen":"2026-11-20T18:15:48.100200123+08:00","k3.network/pid":"4711","k3.network/port":"7946","owner":"mei"}','2026-11-20 18:00:00.000','2026-11-20 18:15:48.100',NULL,'Running','{"providerID":"lab://7"}','{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-20T10:15:48Z","lastTransitionTime":"2026-11-20T10:00:00Z","reason":"LANDiscovery","message":"discovered via mDNS"},{"type":"DiskPressure","status":"False","lastHeartbeatTime":null,"lastTransitionTime":null}],"addresses":[{"type":"Hostname","address":"lab7"},{"type":"InternalIP","address":"192.168.1.7"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"","kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}}'),
('lab8','','node-lab8','1795112100000000000','{"k3.network/discovered":"true","k3.network/managed":"true","kubernetes.io/hostname":"lab8"}','{"k3.network/lastSeen":"2026-11-20T18:15:00+08:00","k3.network/port":"7946"}','2026-11-20 18:00:00.000','2026-11-20 18:15:00.000','2026-11-20 18:15:30.000','Running','{}','{"phase":"Running","daemonEndpoints":{"kubeletEndpoint":{"Port":0}}}'),
('bare','','uid-1795112100000000001','','null','null',NULL,NULL,NULL,'','{}','{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}}}');
