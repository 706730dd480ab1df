# Kafka that AWS runs.

resource "aws_msk_configuration" "this" {
  count = var.backend == "msk" ? 1 : 0

  name              = var.name
  description       = "Replication and retention of ${var.name}"
  server_properties = join("\n", [for key, value in local.server_properties : "${key}=${value}"])

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_msk_cluster" "this" {
  count = var.backend == "msk" ? 1 : 0

  cluster_name           = var.name
  kafka_version          = var.msk.kafka_version
  number_of_broker_nodes = local.brokers
  enhanced_monitoring    = "PER_BROKER"

  broker_node_group_info {
    instance_type   = var.msk.instance_type
    client_subnets  = [for zone in local.zones : var.subnets[zone].id]
    security_groups = [var.security_group_id]

    storage_info {
      ebs_storage_info {
        volume_size = var.msk.disk_gib
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this[0].arn
    revision = aws_msk_configuration.this[0].latest_revision
  }

  client_authentication {
    unauthenticated = false

    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = var.data_key_arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  open_monitoring {
    prometheus {
      jmx_exporter {
        enabled_in_broker = true
      }

      node_exporter {
        enabled_in_broker = true
      }
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.this.name
      }
    }
  }

  # Disks grow under load by Auto Scaling of storage, never shrink.
  lifecycle {
    ignore_changes = [broker_node_group_info[0].storage_info[0].ebs_storage_info[0].volume_size]
  }
}

resource "aws_msk_scram_secret_association" "this" {
  count = var.backend == "msk" ? 1 : 0

  cluster_arn     = aws_msk_cluster.this[0].arn
  secret_arn_list = [aws_secretsmanager_secret.client.arn]

  depends_on = [aws_secretsmanager_secret_version.client]
}

resource "aws_appautoscaling_target" "disk" {
  count = var.backend == "msk" ? 1 : 0

  service_namespace  = "kafka"
  scalable_dimension = "kafka:broker-storage:VolumeSize"
  resource_id        = aws_msk_cluster.this[0].arn
  min_capacity       = var.msk.disk_gib
  max_capacity       = var.msk.disk_gib * 8
}

resource "aws_appautoscaling_policy" "disk" {
  count = var.backend == "msk" ? 1 : 0

  name               = "${var.name}-broker-storage"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.disk[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.disk[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.disk[0].resource_id

  target_tracking_scaling_policy_configuration {
    disable_scale_in = true
    target_value     = 60

    predefined_metric_specification {
      predefined_metric_type = "KafkaBrokerStorageUtilization"
    }
  }
}
