# MySQL: a primary with or without a standby, read replicas, and a schema with a user for each service.
#
# Passwords are written without passing through the state. That of the master is not left to RDS (manage_master_user_password),
# because a primary that does so can have no read replica.

locals {
  master = "rtc_admin"
  family = "mysql${join(".", slice(split(".", var.engine_version), 0, 2))}"
}

data "aws_partition" "current" {}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Database subnets of ${var.name}"
  subnet_ids  = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name        = "${var.name}-${replace(local.family, ".", "-")}"
  family      = local.family
  description = "utf8mb4, UTC, TLS only, slow queries written down"

  parameter {
    name  = "require_secure_transport"
    value = "1"
  }

  dynamic "parameter" {
    for_each = {
      character_set_client     = "utf8mb4"
      character_set_connection = "utf8mb4"
      character_set_database   = "utf8mb4"
      character_set_filesystem = "binary"
      character_set_results    = "utf8mb4"
      character_set_server     = "utf8mb4"
      collation_connection     = "utf8mb4_0900_ai_ci"
      collation_server         = "utf8mb4_0900_ai_ci"
      long_query_time          = "0.5"
      slow_query_log           = "1"
      time_zone                = "UTC"
    }

    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = {
    for log in setproduct(concat([var.name], [for index in range(var.replicas) : "${var.name}-replica-${index}"]), ["error", "slowquery"]) :
    "${log[0]} ${log[1]}" => { instance = log[0], log = log[1] }
  }

  name              = "/aws/rds/instance/${each.value.instance}/${each.value.log}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_iam_role" "monitoring" {
  name = "${var.name}-rds-monitoring"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

resource "aws_db_instance" "primary" {
  #checkov:skip=CKV_AWS_157:A standby costs as much as the database; the variable decides by environment, and prod has one
  #checkov:skip=CKV_AWS_293:The variable decides by environment; prod is protected
  #checkov:skip=CKV_AWS_353:Small classes have no Performance Insights; the variable decides by environment
  identifier                            = var.name
  engine                                = "mysql"
  engine_version                        = var.engine_version
  instance_class                        = var.instance_class
  storage_type                          = "gp3"
  allocated_storage                     = var.storage_gib
  max_allocated_storage                 = var.storage_max_gib
  storage_encrypted                     = true
  kms_key_id                            = var.data_key_arn
  username                              = local.master
  password_wo                           = jsondecode(ephemeral.aws_secretsmanager_secret_version.master.secret_string).password
  password_wo_version                   = var.password_version
  iam_database_authentication_enabled   = true
  port                                  = 3306
  multi_az                              = var.multi_az
  publicly_accessible                   = false
  db_subnet_group_name                  = aws_db_subnet_group.this.name
  vpc_security_group_ids                = [var.security_group_id]
  parameter_group_name                  = aws_db_parameter_group.this.name
  backup_retention_period               = var.backup_days
  backup_window                         = "18:00-19:00"
  maintenance_window                    = "sun:19:30-sun:20:30"
  copy_tags_to_snapshot                 = true
  delete_automated_backups              = !var.deletion_protection
  deletion_protection                   = var.deletion_protection
  skip_final_snapshot                   = !var.deletion_protection
  final_snapshot_identifier             = var.deletion_protection ? "${var.name}-last" : null
  auto_minor_version_upgrade            = true
  apply_immediately                     = var.apply_immediately
  enabled_cloudwatch_logs_exports       = ["error", "slowquery"]
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.monitoring.arn
  performance_insights_enabled          = var.performance_insights
  performance_insights_kms_key_id       = var.performance_insights ? var.data_key_arn : null
  performance_insights_retention_period = var.performance_insights ? 7 : null

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy_attachment.monitoring]
}

resource "aws_db_instance" "replica" {
  #checkov:skip=CKV_AWS_157:A replica is read from and can be made anew; the standby belongs to the primary
  #checkov:skip=CKV_AWS_293:The variable decides by environment; prod is protected
  #checkov:skip=CKV_AWS_353:Small classes have no Performance Insights; the variable decides by environment
  #checkov:skip=CKV_AWS_133:Backups are the primary's
  count = var.replicas

  identifier                            = "${var.name}-replica-${count.index}"
  replicate_source_db                   = aws_db_instance.primary.identifier
  instance_class                        = var.instance_class
  storage_type                          = "gp3"
  max_allocated_storage                 = var.storage_max_gib
  storage_encrypted                     = true
  kms_key_id                            = var.data_key_arn
  iam_database_authentication_enabled   = true
  publicly_accessible                   = false
  vpc_security_group_ids                = [var.security_group_id]
  parameter_group_name                  = aws_db_parameter_group.this.name
  maintenance_window                    = "sun:20:30-sun:21:30"
  copy_tags_to_snapshot                 = true
  deletion_protection                   = var.deletion_protection
  skip_final_snapshot                   = true
  auto_minor_version_upgrade            = true
  apply_immediately                     = var.apply_immediately
  enabled_cloudwatch_logs_exports       = ["error", "slowquery"]
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.monitoring.arn
  performance_insights_enabled          = var.performance_insights
  performance_insights_kms_key_id       = var.performance_insights ? var.data_key_arn : null
  performance_insights_retention_period = var.performance_insights ? 7 : null

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy_attachment.monitoring]
}
